//! Ranges of options, checked in one way.

use std::ops::RangeInclusive;

use crate::supervision::InvalidOption;

/// Every `(key, value, range)` whose value is out of its range.
pub(crate) fn mistakes<const N: usize>(
    checks: [(&str, u64, RangeInclusive<u64>); N],
) -> Vec<InvalidOption> {
    let wrong = checks.into_iter().filter(|(_, value, range)| !range.contains(value));
    wrong
        .map(|(key, value, range)| InvalidOption {
            key: key.to_owned(),
            message: format!("{value} is out of range, use {} to {}", range.start(), range.end()),
        })
        .collect()
}
