//! What AUTH.md says becomes of a request, written down once more.

use super::generator::{Auth, Credential, Location, Request, Step};

/// What each step has made of a request, and what becomes of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) steps: Vec<&'static str>,
    pub(super) end: Result<(), (u16, &'static str)>,
}

/// How many requests the limit `few` still lets pass.
pub(super) struct Model {
    pub(super) left: u32,
}

impl Model {
    pub(super) fn judge(&mut self, steps: &[Step], request: &Request) -> Verdict {
        let refused = |steps, status, reason| Verdict {
            steps,
            end: Err((status, reason)),
        };
        match request.target {
            "/API/x" | "/api;v/x" => return refused(Vec::new(), 400, "path"),
            // The pipeline `open` answers by itself.
            "/open" => {
                return Verdict {
                    steps: Vec::new(),
                    end: Ok(()),
                };
            }
            _ => {}
        }
        let attempts = Step::count_attempts(steps);
        let mut counted = false;
        let mut counts = false;
        let mut made = Vec::new();
        let mut index = 0;
        while let Some(step) = steps.get(index) {
            match step {
                Step::Policies => {
                    if request.target.starts_with("/api/denied") {
                        made.push("rule \"no\" denies");
                        return self.rest(refused(made, 403, "policy_denied"), steps);
                    }
                    made.push("rule \"all\" allows");
                    counts = true;
                    if attempts && !counted {
                        if self.left == 0 {
                            return self.rest(refused(made, 429, "rate_limited"), steps);
                        }
                        (self.left, counted) = (self.left - 1, true);
                    }
                    index += 1;
                }
                Step::Filter => {
                    if request.target == "/api" {
                        made.push("no pattern matches");
                        return self.rest(refused(made, 404, "path_filtered"), steps);
                    }
                    if request.target.starts_with("/api/hidden") {
                        made.push("pattern \"/hidden/{*rest}\" denies");
                        return self.rest(refused(made, 404, "path_filtered"), steps);
                    }
                    made.push("pattern");
                    index += 1;
                }
                Step::Auth(_) => {
                    let is_auth = |step: &&Step| matches!(step, Step::Auth(_));
                    let chain = steps[index..].iter().take_while(is_auth);
                    let chain: Vec<&Auth> = chain
                        .filter_map(|step| match step {
                            Step::Auth(auth) => Some(auth),
                            _ => None,
                        })
                        .collect();
                    index += chain.len();
                    if let Some((status, reason)) = authenticate(&chain, request, &mut made) {
                        return self.rest(refused(made, status, reason), steps);
                    }
                }
            }
        }
        if request.method == "DELETE" {
            return refused(made, 405, "method");
        }
        if request.length == Some(101) {
            return refused(made, 413, "body_too_large");
        }
        if counts && !counted {
            if self.left == 0 {
                return refused(made, 429, "rate_limited");
            }
            self.left -= 1;
        }
        Verdict {
            steps: made,
            end: Ok(()),
        }
    }

    /// The steps behind the last one that was reached.
    fn rest(&self, mut verdict: Verdict, steps: &[Step]) -> Verdict {
        verdict.steps.resize(steps.len(), "not reached");
        verdict
    }
}

/// AUTH.md, "The chain". `None`: it passes.
pub(super) fn authenticate(
    chain: &[&Auth],
    request: &Request,
    made: &mut Vec<&'static str>,
) -> Option<(u16, &'static str)> {
    let reads_it = request.credentials.contains_key(&Location::Authorization);
    let twice = chain
        .iter()
        .any(|auth| request.found(&auth.location) == Credential::Twice)
        || match reads_it {
            true => request.found(&Location::Authorization) == Credential::Twice,
            false => request.stray > 1,
        };
    if twice {
        made.push("rejected: repeated");
        return Some((400, "repeated"));
    }
    let mut rest = chain.iter().peekable();
    while rest.peek().is_some() {
        let mut group = Vec::new();
        for auth in rest.by_ref() {
            group.push(auth);
            if !auth.optional {
                break;
            }
        }
        let mut rejected: Option<(u16, &'static str)> = None;
        let mut decided = None;
        for auth in &group {
            if decided.is_some() {
                made.push("skipped");
                continue;
            }
            let is_token = matches!(auth.location, Location::Authorization | Location::Cookie(_));
            let (status, reason) = match request.found(&auth.location) {
                Credential::Nothing | Credential::OtherScheme => {
                    made.push("nothing presented");
                    continue;
                }
                Credential::Good => {
                    made.push("authenticated");
                    decided = Some(true);
                    continue;
                }
                Credential::Bad if is_token => (401, "malformed"),
                Credential::Bad => (401, "unknown_key"),
                Credential::WithoutScope => (403, "scope_missing"),
                Credential::Twice => unreachable!(),
            };
            made.push("rejected");
            if rejected.is_none_or(|(known, _)| known < status) {
                rejected = Some((status, reason));
            }
            if !auth.fallback {
                decided = Some(false);
            }
        }
        match (decided, rejected) {
            (Some(true), _) => {}
            (_, Some(refusal)) => return Some(refusal),
            (_, None) if group.iter().all(|auth| auth.optional) => {}
            (_, None) => return Some((401, "missing")),
        }
    }
    None
}
