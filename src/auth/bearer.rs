//! From the `Authorization` headers of a request to one bearer token.
//!
//! Called by every transport before anything else. Refuses more than one header, because proxies and
//! servers disagree about which of them counts. Tokens in the query or the body are never looked at:
//! URLs end up in logs.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};

use super::AuthError;

/// The token of a request with these headers.
///
/// The scheme is compared without regard to case (RFC 9110 §11.1), the token must be RFC 6750's
/// `b64token`.
///
/// # Errors
/// No header, several, another scheme, or something that is no token.
pub fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    one_token(headers.get_all(AUTHORIZATION).map(|value| value.as_bytes()))
}

/// The token in the raw values of all `Authorization` headers.
fn one_token<'h>(values: impl IntoIterator<Item = &'h [u8]>) -> Result<&'h str, AuthError> {
    let mut values = values.into_iter();
    let value = values.next().ok_or(AuthError::Missing)?;
    if values.next().is_some() {
        return Err(AuthError::BadHeader("it is there more than once"));
    }
    let value = std::str::from_utf8(value)
        .map_err(|_| AuthError::BadHeader("it is not text"))?
        .trim_matches([' ', '\t']);
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::WrongScheme);
    }
    let token = token.trim_start_matches(' ');
    if token.is_empty() {
        return Err(AuthError::BadHeader("there is no token after `Bearer`"));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if !token.bytes().all(allowed) {
        return Err(AuthError::BadHeader("the token has characters no token has"));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'h>(values: &[&'h str]) -> Result<&'h str, AuthError> {
        one_token(values.iter().map(|value| value.as_bytes()))
    }

    #[test]
    fn one_bearer_token_is_found_whatever_the_case_of_the_scheme() {
        for value in ["Bearer a.b-c_d~e+f/g=", "bearer a.b-c_d~e+f/g=", "BEARER  a.b-c_d~e+f/g= "] {
            assert_eq!(of(&[value]), Ok("a.b-c_d~e+f/g="), "{value:?}");
        }
    }

    #[test]
    fn the_header_is_found_among_others_and_counted() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), Err(AuthError::Missing));
        headers.append(AUTHORIZATION, "Bearer a.b.c".parse().unwrap());
        assert_eq!(bearer(&headers), Ok("a.b.c"));
        headers.append(AUTHORIZATION, "Bearer a.b.c".parse().unwrap());
        assert!(matches!(bearer(&headers), Err(AuthError::BadHeader(_))));
    }

    #[test]
    fn whatever_is_not_exactly_one_bearer_token_is_refused() {
        assert_eq!(of(&[]), Err(AuthError::Missing));
        for other in ["Basic YTpi", "", "Bearera.b.c", "a.b.c"] {
            assert_eq!(of(&[other]), Err(AuthError::WrongScheme), "{other:?}");
        }
        for bad in ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer \u{e9}", "Bearer\ta"] {
            assert!(of(&[bad]).is_err(), "{bad:?}");
        }
        assert!(matches!(of(&["Bearer a", "Bearer a"]), Err(AuthError::BadHeader(_))));
        assert!(matches!(of(&["Bearer a", "Basic b"]), Err(AuthError::BadHeader(_))));
        assert!(matches!(one_token([&b"Bearer \xff"[..]]), Err(AuthError::BadHeader(_))));
    }
}
