//! The scripts: each is one step for everybody else, on one room's key.

use std::sync::LazyLock;

use redis::Script;

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
