//! What the connections of one user on this node share: how many there are, and what they have used of the user's rate.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard};

use chat_core::UserId;

use super::problem::{Code, Problem};
use super::rate::Spent;

#[derive(Debug, Default)]
pub(super) struct Users(Mutex<BTreeMap<UserId, Shared>>);

#[derive(Debug)]
struct Shared {
    connections: u32,
    used: Arc<Used>,
}

/// What all connections of one user have used together.
#[derive(Debug, Default)]
pub(super) struct Used {
    pub(super) requests: Spent,
    /// Typing, and changes of name.
    pub(super) notices: Spent,
}

/// One connection of a user; dropping it gives its place away.
#[derive(Debug)]
pub(super) struct Connected {
    id: UserId,
    pub(super) used: Arc<Used>,
    users: Arc<Users>,
}

impl Users {
    /// Counts one more connection of a user, if there may be one.
    pub(super) fn connect(
        self: &Arc<Self>,
        id: &UserId,
        max: Option<NonZeroU32>,
    ) -> Result<Connected, Problem> {
        let mut users = self.lock();
        let shared =
            users.entry(id.clone()).or_insert_with(|| Shared { connections: 0, used: Arc::default() });
        if let Some(max) = max.filter(|max| max.get() <= shared.connections) {
            return Err(Problem::new(
                Code::RateLimited,
                format!("a user has at most {max} connections to this server: close one, and connect again"),
            ));
        }
        shared.connections += 1;
        Ok(Connected { id: id.clone(), used: shared.used.clone(), users: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<UserId, Shared>> {
        self.0.lock().expect("nothing panics while it counts")
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut users = self.users.lock();
        let Some(shared) = users.get_mut(&self.id) else { return };
        shared.connections -= 1;
        if shared.connections == 0 {
            users.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_so_many_connections_at_a_time_and_others_have_theirs() {
        let (users, max) = (Arc::new(Users::default()), NonZeroU32::new(2));
        let (ada, bob) = (UserId::new("ada").unwrap(), UserId::new("bob").unwrap());
        let first = users.connect(&ada, max).unwrap();
        let second = users.connect(&ada, max).unwrap();
        assert!(Arc::ptr_eq(&first.used, &second.used));
        let problem = users.connect(&ada, max).unwrap_err();
        assert_eq!((problem.code, problem.is_passing()), (Code::RateLimited, true));
        let other = users.connect(&bob, max).unwrap();
        assert!(!Arc::ptr_eq(&first.used, &other.used));
        drop(first);
        let third = users.connect(&ada, max).unwrap();
        assert!(users.connect(&ada, max).is_err());
        drop((second, third, other));
        assert!(users.lock().is_empty());
        assert!(users.connect(&ada, None).is_ok());
    }
}
