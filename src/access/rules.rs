//! Rules: which key may do what in which channel, and as whom.

use super::grant::Grant;
use super::pattern::{NamePattern, Placeholders};
use super::permissions::Permissions;

/// Permissions for those whom a rule names. What no rule permits is denied, as soon as there is a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// Whom it is for.
    pub holder: RuleHolder,
    /// The uids that it is for.
    pub uid: NamePattern,
    /// The channels that it is for.
    pub channel: NamePattern,
    /// The actions that are permitted to those whom the rule fits.
    pub allow: Permissions,
}

/// Those whom a rule is for, by what they have proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleHolder {
    /// Everybody who may join.
    Everybody,
    /// Clients that know the key of that name.
    Key(String),
    /// Clients that have shown a token without rights of its own.
    Token,
    /// Clients that have proved nothing. Such a rule lets them in, also where there are keys.
    Anonymous,
}

/// The rules in force.
#[derive(Clone, Debug)]
pub(super) struct AccessRules(Vec<AccessRule>);

impl AccessRules {
    pub(super) fn new(rules: &[AccessRule]) -> Self {
        Self(rules.to_vec())
    }

    /// Returns `true` if there is no rule: then everything is permitted.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `true` if a rule lets clients in that have proved nothing.
    pub(super) fn admit_anonymous(&self) -> bool {
        self.0
            .iter()
            .any(|rule| rule.holder == RuleHolder::Anonymous)
    }

    /// Returns what all rules together permit to the client of `grant`.
    pub(super) fn permissions(
        &self,
        grant: Option<&Grant>,
        uid: &str,
        channel: &str,
    ) -> Permissions {
        let asker = Placeholders {
            uid,
            key: grant.and_then(Grant::key_name),
        };
        let matching = self.0.iter().filter(|rule| {
            rule.holder.is(grant)
                && rule.uid.matches(uid, asker)
                && rule.channel.matches(channel, asker)
        });
        matching.fold(Permissions::NONE, |all, rule| all.with(rule.allow))
    }
}

impl RuleHolder {
    /// Returns `true` if a rule for these is for the client of `grant`.
    fn is(&self, grant: Option<&Grant>) -> bool {
        match (self, grant) {
            (Self::Everybody, _) | (Self::Anonymous, None) => true,
            (Self::Key(name), Some(Grant::Key(key))) => name == key.name(),
            (Self::Token, Some(Grant::Token(_))) => true,
            (Self::Key(_) | Self::Token | Self::Anonymous, _) => false,
        }
    }
}
