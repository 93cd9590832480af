//! The scripts: each a transition that is atomic and takes one round trip.
//!
//! `common.lua` stands before each of them.

use std::sync::LazyLock;

use crate::redis::Script;

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $file:literal,)+) => {
        $(
            $(#[$doc])*
            pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
                Script::new(concat!(include_str!("common.lua"), "\n", include_str!($file)))
            });
        )+
    };
}

scripts! {
    ENQUEUE = "enqueue.lua",
    CLAIM = "claim.lua",
    BEGIN = "begin.lua",
    EXTEND = "extend.lua",
    FINISH = "finish.lua",
    CANCEL = "cancel.lua",
    REAP = "reap.lua",
    RECALL = "recall.lua",
    PURGE = "purge.lua",
    REPLAY = "replay.lua",
    DISCARD = "discard.lua",
    NOTE = "note.lua",
    DEPTHS = "depths.lua",
    PUT_SCHEDULE = "put_schedule.lua",
    REMOVE_SCHEDULE = "remove_schedule.lua",
    LIST_SCHEDULES = "list_schedules.lua",
    FIRE = "fire.lua",
}
