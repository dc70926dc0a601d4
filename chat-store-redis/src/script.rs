//! The scripts: each is one step for everybody else, on one room's key.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($name:ident $file:literal)*) => {
        $(pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(include_str!("scripts/room.lua"), include_str!(concat!("scripts/", $file))))
        });)*
    };
}

scripts! {
    APPEND "append.lua"
    READ "read.lua"
    TRIM "trim.lua"
    REDACT "redact.lua"
    RENEW_EPOCH "renew_epoch.lua"
    ADVANCE "advance.lua"
}
