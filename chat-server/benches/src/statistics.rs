//! Medians and spreads over rounds. Pure.

use serde::{Deserialize, Serialize};

/// What several rounds of one thing came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) rounds: usize,
}

impl Spread {
    /// None of no values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let half = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
        Some(Self { median, least, most, rounds: values.len() })
    }

    /// How many times `these` are `those`, round by round: what disturbs a round disturbs both.
    pub(crate) fn of_ratios(these: &[(usize, f64)], those: &[(usize, f64)]) -> Option<Self> {
        let ratios = these.iter().filter_map(|&(round, this)| {
            let &(_, that) = those.iter().find(|&&(other, _)| other == round)?;
            (that != 0.0).then_some(this / that)
        });
        Self::of(ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_the_spread_around_it() {
        assert_eq!(
            Spread::of([3.0, 1.0, 8.0]),
            Some(Spread { median: 3.0, least: 1.0, most: 8.0, rounds: 3 })
        );
        assert_eq!(Spread::of([4.0, 1.0]), Some(Spread { median: 2.5, least: 1.0, most: 4.0, rounds: 2 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let (these, those) = ([(0, 2.0), (1, 20.0), (2, 5.0)], [(1, 10.0), (0, 1.0)]);
        assert_eq!(
            Spread::of_ratios(&these, &those),
            Some(Spread { median: 2.0, least: 2.0, most: 2.0, rounds: 2 })
        );
    }
}
