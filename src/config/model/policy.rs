//! `policies`, `path-filter` and `log_dump`, typed.

use std::sync::Arc;

use http::{HeaderName, Method};
use ipnet::IpNet;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use super::limit::CountBy;
use super::{
    ConcurrencyLimit, Expression, Owner, PathPattern, RateLimit, Secret, TextPattern, Variable,
};

/// Settings of `policies`. A request passes when at least one rule of all of them allows it, and
/// none denies it.
#[derive(Debug, Clone, PartialEq)]
pub struct Policies {
    /// The policies of `policies` that are enabled.
    pub policies: Vec<Policy>,
}

/// `[policies.NAME]`, or a policy written in the step.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The table's name; for one written in a step, `STEP/ID`, and for a step's own `rules`,
    /// `STEP/rules`: no table's limits count with them. Rate limits count under it.
    pub name: Arc<str>,
    /// The rules of `rules` that are enabled, those of more `weight` first.
    pub rules: Vec<Rule>,
    /// Whose policy it is: rate limits of the two are counted apart.
    pub owner: Owner,
}

/// `[rules.NAME]`, or a rule written in its policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The table's name, or `id`. Unique in its policy. Rate limits count under it.
    pub name: Arc<str>,
    /// `weight`: the greater, the earlier. Every rule is looked at, so it only says which of
    /// several rate limits without room answers, and orders the log. -1000 to 1000. Default 100.
    pub weight: i64,
    /// `enforce`: whether what it says counts. False: it is in shadow. Default true.
    pub enforce: bool,
    /// `type` and its options.
    pub check: Check,
}

impl Rule {
    /// Whether a request can be allowed by it.
    pub fn may_allow(&self) -> bool {
        self.enforce && self.check.may_allow()
    }
}

/// What a rule says of requests that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// `mode = "allow"`.
    Allow,
    /// `mode = "deny"`.
    Deny,
}

/// What a rule looks at.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// `allow_all`, `deny_all`: matches every request.
    All(Effect),
    /// `ip_allow`, `ip_deny`: the client's address, behind trusted proxies.
    Ip {
        /// From the type.
        effect: Effect,
        /// `ip_addresses`: at least one.
        ranges: Vec<IpNet>,
    },
    /// `rate_limit`: never allows; denies what is over its count.
    RateLimit(Arc<RateLimit>),
    /// `concurrency_limit`: never allows; denies what is more at once than it has room for.
    ConcurrencyLimit(Arc<ConcurrencyLimit>),
    /// `path`: the canonical path, and what of it follows the endpoint's prefix.
    Path {
        /// `mode`.
        effect: Effect,
        /// `paths`: at least one; one that matches is enough.
        patterns: Vec<PathPattern>,
    },
    /// `method`.
    Method {
        /// `mode`.
        effect: Effect,
        /// `methods`: at least one.
        methods: Vec<Method>,
    },
    /// `header`. Values are compared without regard to case, but for patterns.
    Header {
        /// `mode`.
        effect: Effect,
        /// `headers`: at least one; all of them must match.
        headers: Vec<FieldMatch<HeaderName>>,
    },
    /// `user_agent`.
    UserAgent {
        /// `mode`.
        effect: Effect,
        /// `patterns`: at least one; one that matches is enough.
        patterns: Vec<TextPattern>,
    },
    /// `content_type`, parameters left out.
    ContentType {
        /// `mode`.
        effect: Effect,
        /// `content_types`: at least one; one that matches is enough.
        types: Vec<MediaRange>,
    },
    /// `query_parameter`: names and values decoded, with regard to case.
    QueryParameter {
        /// `mode`.
        effect: Effect,
        /// `parameters`: at least one; all of them must match.
        parameters: Vec<FieldMatch<String>>,
    },
    /// `claims`: those of the token that the first identity comes from. A claim that is not there
    /// matches nothing, whatever the mode.
    Claims {
        /// `mode`.
        effect: Effect,
        /// `claims`: at least one; all of them must match.
        claims: Vec<ClaimMatch>,
    },
    /// `cel`: matches where the expression is true. One that cannot be evaluated denies, whatever
    /// the mode.
    Cel {
        /// `mode`.
        effect: Effect,
        /// `expression`.
        expression: Expression,
    },
    /// `time_based`: matches every request, one way or the other.
    Time(Box<TimeWindow>),
    /// `geo`: a country that a trusted proxy vouches for.
    Geo {
        /// `mode`.
        effect: Effect,
        /// `country_codes`: two letters each, in upper case; at least one.
        countries: Vec<String>,
        /// `header`: what names the country; believed of a peer in `trusted_proxies` only. Default
        /// `X-Geo-Country`.
        header: HeaderName,
    },
}

impl Check {
    /// Whether it looks at the claims of a token.
    pub fn reads_claims(&self) -> bool {
        match self {
            Self::Claims { .. } => true,
            Self::Cel { expression, .. } => expression.reads_claims(),
            _ => false,
        }
    }

    /// Whether it looks at who a request is from.
    pub fn reads_identity(&self) -> bool {
        match self {
            Self::Cel { expression, .. } => expression.reads(Variable::Identity),
            _ => false,
        }
    }

    /// Whether it is a limit that looks at the claims of a token; who has none counts by address.
    pub fn limits_by_claim(&self) -> bool {
        match self {
            Self::RateLimit(limit) => limit.reads_claims(),
            Self::ConcurrencyLimit(limit) => limit.reads_claims(),
            _ => false,
        }
    }

    /// Whether a limit counts by who the request is from, apart from its address.
    pub fn limits_by_identity(&self) -> bool {
        let (by, quota) = match self {
            Self::RateLimit(limit) => (&limit.by, &limit.quota),
            Self::ConcurrencyLimit(limit) => (&limit.by, &limit.quota),
            _ => return false,
        };
        let mut by = by.iter().chain(quota.by.iter().map(|(by, _)| by));
        by.any(|by| !matches!(by, CountBy::Client | CountBy::Route))
    }

    fn may_allow(&self) -> bool {
        match self {
            Self::All(effect)
            | Self::Ip { effect, .. }
            | Self::Path { effect, .. }
            | Self::Method { effect, .. }
            | Self::Header { effect, .. }
            | Self::UserAgent { effect, .. }
            | Self::ContentType { effect, .. }
            | Self::QueryParameter { effect, .. }
            | Self::Claims { effect, .. }
            | Self::Cel { effect, .. }
            | Self::Geo { effect, .. } => *effect == Effect::Allow,
            Self::Time(_) => true,
            Self::RateLimit(_) | Self::ConcurrencyLimit(_) => false,
        }
    }
}

/// One of `claims`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimMatch {
    /// The claim's name, or the names on the way into it with dots between.
    pub path: String,
    /// At least one; the claim, or one element if it is an array, equals one of them.
    pub values: Vec<serde_json::Value>,
}

/// One of `headers` or `parameters`.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldMatch<N> {
    /// `name`.
    pub name: N,
    /// `match_type` and `value`.
    pub value: ValueMatch,
}

/// `match_type` with its `value`, which may be a secret. For a header, the value is in lower case.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueMatch {
    /// `exists`: any value, also an empty one.
    Exists,
    /// `exact`.
    Exact(Secret),
    /// `contains`.
    Contains(Secret),
    /// `regex`.
    Regex(TextPattern),
}

/// A media type, a whole top-level type (`text/*`) or every type (`*/*`), in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaRange {
    /// `*/*`.
    Any,
    /// `text/*`, as `text/`.
    Type(String),
    /// `application/json`.
    Exact(String),
}

/// Options of `time_based`. A moment is inside when every part that is given says so.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeWindow {
    /// `allow_during_window`: allow inside and deny outside, or the other way round. Default true.
    pub allow_inside: bool,
    /// `timezone`, of the IANA database. Default UTC.
    pub timezone: TimeZone,
    /// `start_time` (inside) and `end_time` (outside again), in minutes since midnight. The first
    /// may be the later one: then it goes over midnight.
    pub times: Option<(u16, u16)>,
    /// `days_of_week`, of the moment itself. Empty: every day.
    pub days: Vec<Weekday>,
    /// `start_date`.
    pub first_day: Option<Date>,
    /// `end_date`, that day included.
    pub last_day: Option<Date>,
}

/// Settings of `path-filter`: the first rule that matches what follows the endpoint's prefix
/// decides; none: 404.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFilter {
    /// `rules`: at least one.
    pub rules: Vec<(Effect, PathPattern)>,
}

/// Settings of `log_dump`: one record of each request, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDump {
    /// `level`. Default info.
    pub level: log::Level,
    /// `label`, or the step's name.
    pub label: String,
    /// `pretty`: JSON over several lines. Default true.
    pub pretty: bool,
    /// `redact_headers`, `redact_metadata`, `redact_data_fields` and
    /// `proxy.sensitive_field_patterns`: names whose values are not shown, besides those that never
    /// are.
    pub redact: Vec<TextPattern>,
}
