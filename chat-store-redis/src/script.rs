//! The scripts: each is one step for everybody else, on one room's key.
//!
//! A server that does not know a script yet is sent its text in place of its hash. To load it, as the client of Redis would, asks all primaries of
//! a cluster, and one that does not answer would hold up what concerns another one.

use std::sync::LazyLock;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind, ToRedisArgs, cmd};

pub(crate) struct Script {
    code: &'static str,
    hash: String,
}

/// A script with what it is called with.
#[derive(Clone)]
pub(crate) struct Call {
    script: &'static Script,
    keys: Vec<Vec<u8>>,
    args: Vec<Vec<u8>>,
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }

    pub(crate) fn call(&'static self) -> Call {
        Call { script: self, keys: Vec::new(), args: Vec::new() }
    }

    pub(crate) fn key(&'static self, key: impl ToRedisArgs) -> Call {
        self.call().key(key)
    }
}

impl Call {
    pub(crate) fn key(mut self, key: impl ToRedisArgs) -> Self {
        key.write_redis_args(&mut self.keys);
        self
    }

    pub(crate) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        arg.write_redis_args(&mut self.args);
        self
    }

    pub(crate) async fn invoke_async<T: FromRedisValue>(
        &self,
        link: &mut impl ConnectionLike,
    ) -> RedisResult<T> {
        match self.by_hash().query_async(link).await {
            Err(error) if is_unknown(&error) => self.by_text().query_async(link).await,
            outcome => outcome,
        }
    }

    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    /// The server knows the script from then on.
    pub(crate) fn by_text(&self) -> Cmd {
        self.command("EVAL", self.script.code)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.args);
        command
    }
}

/// Whether the server does not know the script: then nothing of it has happened.
pub(crate) fn is_unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

macro_rules! scripts {
    ($($begin:literal: $($name:ident $file:literal)*;)*) => {
        $($(pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(
                include_str!("scripts/numbers.lua"),
                include_str!(concat!("scripts/", $begin)),
                include_str!(concat!("scripts/", $file)),
            ))
        });)*)*
    };
}

scripts! {
    "room.lua":
    APPEND "append.lua"
    READ "read.lua"
    TRIM "trim.lua"
    REDACT "redact.lua"
    RENEW_EPOCH "renew_epoch.lua"
    ADVANCE "advance.lua";
    "here.lua":
    ENTER "enter.lua"
    LEAVE "leave.lua"
    EVICT "evict.lua"
    ROSTER "roster.lua";
    "nodes.lua":
    RENEW "renew.lua"
    LAPSED "lapsed.lua";
}

pub(crate) static TICKET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(include_str!("scripts/numbers.lua"), include_str!("scripts/ticket.lua")))
});
