//! `[cell.zygote]`: Python interpreters that are forked from one that has started.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use ultimate_mcp_sandbox::options::{
    PRELOAD_DEFAULT, RENEW_AFTER_DEFAULT, RENEW_AFTER_FORKS_DEFAULT, ZYGOTE_SPARES_DEFAULT,
    ZygoteOptions, zygote_library,
};

use crate::bounds::mistakes;
use crate::supervision::InvalidOption;

/// Most modules imported ahead: each makes every fork dearer.
const PRELOAD_MAX: usize = 128;

/// Settings of the zygote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ZygoteSettings {
    /// Off, or where the library is missing, each run starts its interpreter.
    pub enabled: bool,
    /// Sandboxes with a waiting interpreter kept prepared.
    pub spares: u16,
    /// Sandboxes born of one zygote before it is replaced.
    pub renew_after_forks: u32,
    /// Age in seconds at which a zygote that was used is replaced.
    pub renew_after_seconds: u32,
    /// Modules of the standard library that it imports once.
    pub preload: Vec<String>,
}

impl Default for ZygoteSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            spares: ZYGOTE_SPARES_DEFAULT,
            renew_after_forks: RENEW_AFTER_FORKS_DEFAULT,
            renew_after_seconds: u32::try_from(RENEW_AFTER_DEFAULT.as_secs()).unwrap_or(u32::MAX),
            preload: PRELOAD_DEFAULT.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

impl ZygoteSettings {
    /// Every value out of range, with its key below `cell`.
    pub(super) fn mistakes(&self) -> Vec<InvalidOption> {
        let mut found = mistakes([
            ("zygote.spares", u64::from(self.spares), 0..=64),
            ("zygote.renew_after_forks", u64::from(self.renew_after_forks), 1..=1_000_000),
            ("zygote.renew_after_seconds", u64::from(self.renew_after_seconds), 1..=86_400),
            ("zygote.preload", self.preload.len() as u64, 0..=PRELOAD_MAX as u64),
        ]);
        let strange = self.preload.iter().find(|name| !is_module_name(name));
        found.extend(strange.map(|name| InvalidOption {
            key: "zygote.preload".to_owned(),
            message: format!("{name:?} is not the name of a module, such as \"os.path\""),
        }));
        found
    }

    /// How the launcher forks interpreters under these settings, if it does.
    pub(super) fn launcher_options(&self) -> Option<ZygoteOptions> {
        self.enabled.then(|| ZygoteOptions {
            library: zygote_library().unwrap_or_default(),
            preload: self.preload.clone(),
            spares: self.spares,
            renew_after_forks: self.renew_after_forks,
            renew_after: Duration::from_secs(self.renew_after_seconds.into()),
        })
    }
}

/// Identifiers joined by dots (ASCII ones, as the standard library's are).
fn is_module_name(name: &str) -> bool {
    let identifier = |part: &str| {
        let mut letters = part.bytes();
        letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    name.len() <= 100 && name.split('.').all(identifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_module_is_named_and_nothing_else_is() {
        assert_eq!(ZygoteSettings::default().mistakes(), []);
        for name in ["", "os.", "a b", "x;y", "-c", "1a", "import os"] {
            let preload = vec!["json".to_owned(), name.to_owned()];
            let wrong = ZygoteSettings { preload, ..Default::default() };
            assert_eq!(wrong.mistakes()[0].key, "zygote.preload", "{name:?} was accepted");
        }
        let never = ZygoteSettings { renew_after_forks: 0, ..Default::default() };
        assert_eq!(never.mistakes()[0].key, "zygote.renew_after_forks");
    }

    #[test]
    fn switched_off_the_launcher_hears_nothing_of_it() {
        let off = ZygoteSettings { enabled: false, ..Default::default() };
        assert_eq!(off.launcher_options(), None);
        assert!(ZygoteSettings::default().launcher_options().is_some());
    }
}
