//! How a broken rule is said: what is allowed, in the form a caller can act on.
//!
//! Used by [`super::typed::decode`] around every validation.

use std::borrow::Cow;
use std::fmt::Display;

use garde::i18n::{I18n, InvalidCreditCard, InvalidEmail, InvalidPhoneNumber, InvalidUrl, IpKind};

/// Our wording of garde's rules.
pub struct Wording;

impl I18n for Wording {
    fn length_lower_than(&self, min: usize) -> Cow<'static, str> {
        format!("length must be at least {min}").into()
    }

    fn length_greater_than(&self, max: usize) -> Cow<'static, str> {
        format!("length must be at most {max}").into()
    }

    fn range_lower_than(&self, min: &dyn Display) -> Cow<'static, str> {
        format!("must be at least {min}").into()
    }

    fn range_greater_than(&self, max: &dyn Display) -> Cow<'static, str> {
        format!("must be at most {max}").into()
    }

    fn credit_card_invalid(&self, reason: InvalidCreditCard) -> Cow<'static, str> {
        format!("must be a credit card number: {reason}").into()
    }

    fn pattern_no_match(&self, pattern: &dyn Display) -> Cow<'static, str> {
        format!("must match {pattern}").into()
    }

    fn contains_missing(&self, pattern: &dyn Display) -> Cow<'static, str> {
        format!("must contain {pattern:?}", pattern = pattern.to_string()).into()
    }

    fn url_invalid(&self, reason: InvalidUrl) -> Cow<'static, str> {
        format!("must be a URL: {reason}").into()
    }

    fn prefix_missing(&self, pattern: &dyn Display) -> Cow<'static, str> {
        format!("must begin with {pattern:?}", pattern = pattern.to_string()).into()
    }

    fn suffix_missing(&self, pattern: &dyn Display) -> Cow<'static, str> {
        format!("must end with {pattern:?}", pattern = pattern.to_string()).into()
    }

    fn phone_number_invalid(&self, reason: InvalidPhoneNumber) -> Cow<'static, str> {
        format!("must be a phone number: {reason}").into()
    }

    fn ip_invalid(&self, kind: IpKind) -> Cow<'static, str> {
        format!("must be an {kind} address").into()
    }

    fn matches_field_mismatch(&self, field: &dyn Display) -> Cow<'static, str> {
        format!("must equal {field}").into()
    }

    fn email_invalid(&self, reason: InvalidEmail) -> Cow<'static, str> {
        format!("must be an e-mail address: {reason}").into()
    }

    fn ascii_invalid(&self) -> Cow<'static, str> {
        "must be ASCII".into()
    }

    fn alphanumeric_invalid(&self) -> Cow<'static, str> {
        "must be letters and digits".into()
    }

    fn required_not_set(&self) -> Cow<'static, str> {
        "is required".into()
    }
}
