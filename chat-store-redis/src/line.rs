//! The connection that commands share. It is made anew whenever it is broken, dead without anybody having said so, or leads to a server that is
//! no primary any more. What fails meanwhile is not repeated, and all commands may be.

use std::sync::{Arc, PoisonError, RwLock, Weak};

use redis::RedisResult;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::link::{Connector, Link, until_done};

#[derive(Debug)]
pub(crate) struct Line {
    link: RwLock<Link>,
    _stop: DropGuard,
}

impl Line {
    pub(crate) async fn open(connector: &Connector) -> RedisResult<Arc<Self>> {
        let link = RwLock::new(connector.connect().await?);
        let stop = CancellationToken::new();
        let line = Arc::new(Self { link, _stop: stop.clone().drop_guard() });
        tokio::spawn(stop.run_until_cancelled_owned(keep(Arc::downgrade(&line), connector.clone())));
        Ok(line)
    }

    /// For one command or more.
    pub(crate) fn link(&self) -> Link {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn keep(line: Weak<Line>, connector: Connector) {
    while let Some(mut link) = line.upgrade().map(|line| line.link()) {
        connector.until_broken(&mut link).await;
        let fresh = until_done("the connection to Redis is lost", || connector.connect()).await;
        let Some(line) = line.upgrade() else { return };
        *line.link.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }
}
