//! The parameters of a request, behind the question mark.

use std::borrow::Cow;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use super::problem::AdminProblem;

/// Most entries in a list.
const MOST: usize = 1000;
/// Entries in a list if nobody asks for another number.
const DEFAULT: usize = 50;

/// The parameters of a request, decoded.
#[derive(Debug)]
pub(super) struct Query<'a>(Vec<(&'a str, String)>);

impl<'a> Query<'a> {
    /// Takes a query apart.
    ///
    /// # Errors
    ///
    /// A parameter that is not among the `known` ones, or is there twice, or is not UTF-8.
    pub(super) fn parse(query: Option<&'a str>, known: &[&str]) -> Result<Self, AdminProblem> {
        let mut parameters: Vec<(&str, String)> = Vec::new();
        let pairs = query.into_iter().flat_map(|query| query.split('&'));
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) || parameters.iter().any(|(other, _)| *other == name) {
                let detail = format!("the parameters here are {}, once each", known.join(", "));
                return Err(AdminProblem::bad_request(detail));
            }
            // Programs that make queries write a space so, as forms do.
            let value = value.replace('+', " ");
            parameters.push((name, decode(&value)?.into_owned()));
        }
        Ok(Self(parameters))
    }

    /// Returns the value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(found, _)| *found == name)?;
        Some(&found.1)
    }

    /// Returns the number of entries that are asked for.
    ///
    /// # Errors
    ///
    /// It is no number, or too large.
    pub(super) fn limit(&self) -> Result<usize, AdminProblem> {
        Ok(self.count("limit", MOST)?.unwrap_or(DEFAULT))
    }

    /// Returns the number that a parameter names, from 1 to `most`; `None` if it is absent.
    ///
    /// # Errors
    ///
    /// It is no number, or too large.
    pub(super) fn count(&self, name: &str, most: usize) -> Result<Option<usize>, AdminProblem> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let value = number(value).filter(|value| (1..=most).contains(value));
        let bad = || AdminProblem::bad_request(format!("{name} is a number from 1 to {most}"));
        value.map(Some).ok_or_else(bad)
    }

    /// Returns which of these a parameter names, the first if it is absent.
    ///
    /// # Errors
    ///
    /// None of them.
    pub(super) fn one_of<T: Copy>(
        &self,
        name: &str,
        names: &[(&str, T)],
    ) -> Result<T, AdminProblem> {
        let value = self.get(name);
        let found = names
            .iter()
            .find(|(known, _)| value.is_none_or(|value| value == *known));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
            AdminProblem::bad_request(format!("{name} is one of {}", names.join(", ")))
        })
    }
}

/// Decodes a part of a path or a query.
///
/// # Errors
///
/// It is not UTF-8.
pub(super) fn decode(text: &str) -> Result<Cow<'_, str>, AdminProblem> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map_err(|_| AdminProblem::bad_request("the path or the query is not UTF-8"))
}

/// Parses a number without a sign.
pub(super) fn number<T: FromStr>(text: &str) -> Option<T> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_unknown_ones_refused() {
        let known = ["sort", "after"];
        let query = Query::parse(Some("after=a%20b+%2F%2Bc&sort="), &known).unwrap();
        assert_eq!(query.get("after"), Some("a b /+c"));
        assert_eq!(query.get("sort"), Some(""));
        assert!(Query::parse(None, &known).unwrap().get("sort").is_none());
        for bad in ["limt=1", "sort=a&sort=b", "after=%FF"] {
            assert!(Query::parse(Some(bad), &known).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_and_names_are_checked() {
        let limit = |text| Query::parse(Some(text), &["limit"]).unwrap().limit().ok();
        assert_eq!(limit(""), Some(50));
        assert_eq!(limit("limit=1000"), Some(1000));
        for bad in ["limit=0", "limit=1001", "limit=+5", "limit=", "limit=x"] {
            assert_eq!(limit(bad), None, "{bad}");
        }
        let sort = |text| {
            let query = Query::parse(Some(text), &["sort"]).unwrap();
            query.one_of("sort", &[("rate", 1), ("name", 2)]).ok()
        };
        assert_eq!(
            [sort(""), sort("sort=name"), sort("sort=x")],
            [Some(1), Some(2), None]
        );
    }
}
