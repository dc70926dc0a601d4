//! The namespaces of a server: those that it was built with, and those that are made when a client asks for them.
//!
//! Nobody holds the second kind but those who use it: its sockets, its sessions, and whoever in the host has something of it. When the last of
//! them lets go, it is gone. So there is never more than one of a name, and nothing has to be swept.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::namespace::{Namespace, Served};
use super::recovery::suspended::Suspended;

pub(crate) type Pattern = Box<dyn Fn(&str) -> Option<Namespace> + Send + Sync>;

pub(crate) struct Namespaces {
    fixed: HashMap<String, Arc<Served>>,
    dynamic: Option<Arc<Dynamic>>,
}

/// What a name leads to.
pub(crate) enum Found {
    Open(Arc<Served>),
    /// There is none, and there will be none.
    Unknown,
    /// There could be one, but there are as many as may be.
    TooMany,
}

/// The namespaces that are made when a client asks for them.
pub(crate) struct Dynamic {
    pattern: Pattern,
    max: usize,
    suspended: Option<Arc<Suspended>>,
    open: Mutex<HashMap<Arc<str>, Weak<Served>>>,
}

impl Namespaces {
    pub(crate) fn new(fixed: HashMap<String, Arc<Served>>, dynamic: Option<Dynamic>) -> Self {
        Self { fixed, dynamic: dynamic.map(Arc::new) }
    }

    /// The namespace for a client that asks for it, made if need be.
    pub(crate) fn find_or_make(&self, name: &str) -> Found {
        match (self.fixed.get(name), &self.dynamic) {
            (Some(served), _) => Found::Open(served.clone()),
            (None, Some(dynamic)) => dynamic.find_or_make(name),
            (None, None) => Found::Unknown,
        }
    }

    /// The namespace, if it is there.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Served>> {
        self.fixed.get(name).cloned().or_else(|| self.dynamic.as_ref()?.find(name))
    }

    /// Those that are there.
    pub(crate) fn all(&self) -> Vec<Arc<Served>> {
        self.names().iter().filter_map(|name| self.find(name)).collect()
    }

    /// What they are called.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        let fixed = self.fixed.values().map(|served| served.name.clone());
        fixed.chain(self.dynamic.iter().flat_map(|dynamic| dynamic.names())).collect()
    }
}

impl Dynamic {
    pub(crate) fn new(pattern: Pattern, max: usize, suspended: Option<Arc<Suspended>>) -> Self {
        Self { pattern, max, suspended, open: Mutex::default() }
    }

    fn find_or_make(self: &Arc<Self>, name: &str) -> Found {
        if let Some(served) = self.find(name) {
            return Found::Open(served);
        }
        // The host's code, so not under the lock.
        let Some(handlers) = (self.pattern)(name) else { return Found::Unknown };
        let mut open = self.lock();
        // Another connection may have been faster.
        if let Some(served) = open.get(name).and_then(Weak::upgrade) {
            return Found::Open(served);
        }
        if self.max <= open.len() && !open.contains_key(name) {
            return Found::TooMany;
        }
        let served = Served::new(name, handlers, self.suspended.clone()).made_by(Arc::downgrade(self));
        let served = Arc::new(served);
        open.insert(served.name.clone(), Arc::downgrade(&served));
        Found::Open(served)
    }

    fn find(&self, name: &str) -> Option<Arc<Served>> {
        // One that is taken out under the lock is handed on, and not dropped under it: that would wait for the lock.
        self.lock().get(name).and_then(Weak::upgrade)
    }

    fn names(&self) -> Vec<Arc<str>> {
        let open = self.lock();
        open.iter().filter(|(_, served)| 0 < served.strong_count()).map(|(name, _)| name.clone()).collect()
    }

    /// One of that name is gone. There may be another one by now.
    pub(crate) fn closed(&self, name: &str) {
        let mut open = self.lock();
        if open.get(name).is_some_and(|served| served.strong_count() == 0) {
            open.remove(name);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Weak<Served>>> {
        self.open.lock().expect("nothing panics while it holds the names")
    }
}

impl fmt::Debug for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// While somebody has a namespace, everybody who asks gets that one; and when nobody has it, its name is free.
    #[test]
    fn there_is_never_a_second_one_of_a_name_and_none_is_left_behind() {
        let dynamic = Dynamic::new(Box::new(|_| Some(Namespace::new())), 2, None);
        let namespaces = Namespaces::new(HashMap::new(), Some(dynamic));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let namespaces = &namespaces;
                scope.spawn(move || {
                    for round in 0..2000 {
                        let name = if (thread + round) % 3 == 0 { "/a" } else { "/b" };
                        let Found::Open(mine) = namespaces.find_or_make(name) else { panic!("two may be") };
                        let found = namespaces.find(name).expect("it is held");
                        assert!(Arc::ptr_eq(&mine, &found));
                    }
                });
            }
        });
        let held = namespaces.find_or_make("/a");
        assert!(matches!(namespaces.find_or_make("/b"), Found::Open(_)), "/b is gone again at once");
        assert!(matches!(namespaces.find_or_make("/c"), Found::Open(_)));
        assert_eq!(namespaces.names(), ["/a".into()]);
        drop(held);
        assert!(namespaces.names().is_empty());
        assert!(namespaces.dynamic.as_ref().unwrap().lock().is_empty());
    }
}
