//! What each message says of itself, so that whoever receives it knows which one it is and how late it is.
//!
//! The text of a message is `^`, room, number, due time, then filling. The caret is in nothing else that the servers send, so it is
//! found by one search for one byte. Fixed widths make reading it cheap.

/// Which message of which room, and when it was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) room: u32,
    /// Counts the posts of the room: 0, 1, 2, …
    pub(super) number: u32,
    /// In nanoseconds of this machine's monotonic clock. When it was *due*, not when it was sent: a generator or a server that is
    /// behind must not make its own delay invisible (coordinated omission).
    pub(super) due: u64,
}

const SIGN: u8 = b'^';
const LENGTH: usize = 1 + 8 + 8 + 16;

impl Marker {
    /// Appends the text of the message: at least the marker, filled up to `length`.
    pub(super) fn write(self, out: &mut Vec<u8>, length: usize) {
        let begin = out.len();
        out.push(SIGN);
        hex(out, self.room.into(), 8);
        hex(out, self.number.into(), 8);
        hex(out, self.due, 16);
        out.resize(begin + length.max(LENGTH), b'x');
    }

    /// Finds the marker in what a server has sent, and where it begins.
    pub(super) fn find(bytes: &[u8]) -> Option<(Self, usize)> {
        let at = memchr::memchr(SIGN, bytes)?;
        let digits: &[u8; LENGTH - 1] = bytes.get(at + 1..at + LENGTH)?.try_into().ok()?;
        let room = u32::try_from(number(&digits[..8])?).ok()?;
        let number_ = u32::try_from(number(&digits[8..16])?).ok()?;
        Some((Self { room, number: number_, due: number(&digits[16..])? }, at))
    }
}

fn hex(out: &mut Vec<u8>, value: u64, width: u32) {
    out.extend((0..width).rev().map(|place| b"0123456789abcdef"[(value >> (4 * place) & 0xf) as usize]));
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Marker = Marker { room: 7, number: u32::MAX, due: u64::MAX - 1 };

    #[test]
    fn a_marker_is_found_wherever_it_stands() {
        let mut event = br#"42["message",{"room":"r7","content":""#.to_vec();
        let at = event.len();
        SOME.write(&mut event, 100);
        assert_eq!(event.len(), at + 100);
        event.extend_from_slice(br#""},"token"]"#);
        assert_eq!(Marker::find(&event), Some((SOME, at)));
    }

    #[test]
    fn what_is_no_marker_is_not_taken_for_one() {
        let mut cut = Vec::new();
        SOME.write(&mut cut, 0);
        cut.pop();
        for bytes in [&b"42[\"presence\",{}]"[..], &cut, b"^0000000z000000000000000000000000"] {
            assert_eq!(Marker::find(bytes), None);
        }
    }
}
