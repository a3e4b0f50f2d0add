//! Who may ask: whoever has the token, or, without one, whoever is on this machine.

use std::hash::{BuildHasher as _, RandomState};

use http::{Method, StatusCode};

use super::problem::AdminProblem;
use crate::escape::Escaped;
use crate::settings::AdminToken;
use crate::websocket::{Hosts, HttpRequest, host_allowed, origin_allowed};

/// Condition on which a resource is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    /// Anyone may have it who can reach the listener: it tells nothing but that there is a server, and how it is.
    Open,
    /// The token is needed, if there is one.
    Token,
}

/// Decides about requests.
#[derive(Debug)]
pub(super) struct AdminAccess {
    token: Option<AdminToken>,
    /// Hashes tokens to compare them.
    hasher: RandomState,
}

impl AdminAccess {
    pub(super) fn new(token: Option<AdminToken>) -> Self {
        Self {
            token,
            hasher: RandomState::new(),
        }
    }

    /// Checks whether a request may have what it asks for.
    ///
    /// # Errors
    ///
    /// It may not: it shows no token or a wrong one, or a browser sends it for a page of somebody else.
    pub(super) fn check(
        &self,
        request: &HttpRequest<'_>,
        protection: Protection,
    ) -> Result<(), AdminProblem> {
        self.check_host(request)?;
        check_page(request)?;
        match protection {
            Protection::Open => Ok(()),
            Protection::Token => self.check_token(request),
        }
    }

    /// Refuses names that somebody may have made to lead here ("DNS rebinding"). Where there is a token, such a page
    /// does not have it.
    fn check_host(&self, request: &HttpRequest<'_>) -> Result<(), AdminProblem> {
        if host_allowed(request.host, self.hosts(), &[]) {
            return Ok(());
        }
        let detail = format!(
            "{} is not a name by which the admin listener is asked without a token: use an IP address or \
             localhost, or set admin_token_file",
            Escaped(request.host)
        );
        Err(AdminProblem::new(StatusCode::MISDIRECTED_REQUEST, detail))
    }

    fn check_token(&self, request: &HttpRequest<'_>) -> Result<(), AdminProblem> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let hash = |text: &str| self.hasher.hash_one(text);
        let shown = bearer(request)?;
        // Hashes under a random key are compared, which takes the same time whichever bytes differ.
        if shown.is_some_and(|shown| hash(shown) == hash(token.as_str())) {
            return Ok(());
        }
        let detail = match shown {
            Some(_) => "the token is wrong",
            None => "a token is needed: Authorization: Bearer TOKEN (admin_token_file)",
        };
        Err(AdminProblem::new(StatusCode::UNAUTHORIZED, detail))
    }

    const fn hosts(&self) -> Hosts {
        match self.token {
            Some(_) => Hosts::Any,
            None => Hosts::Fixed,
        }
    }
}

/// Refuses requests that a browser sends for a page of another origin. Names are checked beforehand.
fn check_page(request: &HttpRequest<'_>) -> Result<(), AdminProblem> {
    let refused = |what: &str| {
        let detail = format!("{what}: only the dashboard of this listener may ask from a browser");
        Err(AdminProblem::new(StatusCode::FORBIDDEN, detail))
    };
    let origin = request.only("Origin")?;
    if !origin_allowed(origin, request.host, Hosts::Any, &[]) {
        let origin = Escaped(origin.unwrap_or_default());
        return refused(&format!("a page of {origin} asks"));
    }
    // Browsers leave the origin out of some requests. Following a link from elsewhere only reads.
    let site = request.only("Sec-Fetch-Site")?;
    let is_foreign = site.is_some_and(|site| !matches!(site, "same-origin" | "none"));
    if is_foreign && !matches!(request.method, Method::GET | Method::HEAD) {
        return refused("a page of another site asks");
    }
    Ok(())
}

/// Returns the token that a request shows.
fn bearer<'a>(request: &HttpRequest<'a>) -> Result<Option<&'a str>, AdminProblem> {
    let Some(value) = request.only("Authorization")? else {
        return Ok(None);
    };
    let found = value.split_once(' ');
    let token = found.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = token else {
        let detail = "the only scheme of Authorization here is Bearer";
        return Err(AdminProblem::new(StatusCode::UNAUTHORIZED, detail));
    };
    Ok(Some(token.trim()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use crate::websocket::parse;

    fn status(token: Option<&str>, request_line: &str, headers: &str) -> u16 {
        let access = AdminAccess::new(token.map(AdminToken::new));
        let head = format!("{request_line} HTTP/1.1\r\n{headers}\r\n");
        let (request, _) = parse(head.as_bytes()).unwrap().unwrap();
        let checked = access.check(&request, Protection::Token);
        checked.map_or_else(|problem| problem.response().status().as_u16(), |()| 200)
    }

    #[test]
    fn without_a_token_only_fixed_names_lead_here() {
        for (host, expected) in [
            ("127.0.0.1:8078", 200),
            ("[::1]:8078", 200),
            ("localhost:8078", 200),
            ("rebound.example:8078", 421),
        ] {
            let host = format!("Host: {host}\r\n");
            assert_eq!(status(None, "GET /api/server", &host), expected, "{host}");
        }
    }

    #[test]
    fn a_token_is_compared_whole_and_makes_names_free() {
        let ask = |authorization: &str| {
            let headers = format!("Host: broker.example\r\n{authorization}");
            status(Some("secret"), "GET /metrics", &headers)
        };
        assert_eq!(ask("Authorization: Bearer secret\r\n"), 200);
        assert_eq!(ask("Authorization: bearer secret\r\n"), 200);
        for wrong in [
            "",
            "Authorization: Bearer\r\n",
            "Authorization: Bearer \r\n",
            "Authorization: Bearer secre\r\n",
            "Authorization: Bearer secretx\r\n",
            "Authorization: Basic secret\r\n",
        ] {
            assert_eq!(ask(wrong), 401, "{wrong}");
        }
    }

    #[test]
    fn pages_of_others_get_and_change_nothing() {
        let ask = |method: &str, headers: &str| {
            let headers = format!("Host: 127.0.0.1:8078\r\n{headers}");
            status(None, &format!("{method} /api/drain"), &headers)
        };
        for method in ["GET", "POST"] {
            assert_eq!(ask(method, "Origin: http://127.0.0.1:8078\r\n"), 200);
            for origin in [
                "null",
                "http://127.0.0.1:8076",
                "http://evil.example",
                "https://127.0.0.1:8078.evil.example",
            ] {
                let origin = format!("Origin: {origin}\r\n");
                assert_eq!(ask(method, &origin), 403, "{method} {origin}");
            }
        }
        assert_eq!(ask("POST", "Sec-Fetch-Site: same-origin\r\n"), 200);
        assert_eq!(ask("POST", "Sec-Fetch-Site: cross-site\r\n"), 403);
        // A link to the dashboard.
        assert_eq!(ask("GET", "Sec-Fetch-Site: cross-site\r\n"), 200);
    }
}
