//! Conditions in the Common Expression Language (CEL), compiled when the configuration is read.
//!
//! The interpreter has no budget of its own and recurses. So an expression is short, nested little
//! and one comprehension deep; what it may cost is reckoned before it is evaluated, and one that is
//! too costly for what it looks at is not.

mod check;
mod cost;
mod mistake;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::thread;

use cel::{Context, Env, ExecutionError, Program, Value};

use check::Findings;
use cost::Input;
pub use mistake::Mistake;

/// The most bytes of an expression.
const MAX_BYTES: usize = 1024;
/// What the parser and the look at its result may take of the stack: they recurse some times for
/// each byte, before it is known how deep the expression is.
const PARSER_STACK: usize = 256 * 1024 * 1024;
/// How deep values may be nested.
const MAX_VALUE_DEPTH: usize = 32;

/// Without the syntax of optional values. The crate is built without regular expressions, which
/// have no bound.
static ENVIRONMENT: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// A condition over what is known of a request. Equal to another one of the same text.
#[derive(Clone)]
pub struct Expression(Arc<Compiled>);

struct Compiled {
    text: String,
    program: Program,
    findings: Findings,
}

/// What an expression may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variable {
    /// `claims`: those of the token.
    Claims,
    /// `identity`.
    Identity,
    /// `request`.
    Request,
    /// `certificate`: the client's, if it is verified.
    Certificate,
}

impl Variable {
    const ALL: [Self; 4] = [
        Self::Claims,
        Self::Identity,
        Self::Request,
        Self::Certificate,
    ];

    /// As expressions spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::Identity => "identity",
            Self::Request => "request",
            Self::Certificate => "certificate",
        }
    }

    /// What it may hold; empty: anything.
    fn members(self) -> &'static [&'static str] {
        match self {
            Self::Claims => &[],
            Self::Identity => &["method", "subject", "scopes", "key_id"],
            Self::Request => &["method", "path", "host", "headers", "client_address"],
            Self::Certificate => &["subject", "sans", "sha256"],
        }
    }
}

/// Why there is no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// It could take too long over what it looks at.
    #[error("the values that it refers to are too large to be evaluated")]
    TooMuch,
    /// It is neither true nor false.
    #[error("its result is not a boolean")]
    NotBoolean,
    /// A member is not there.
    #[error("a value that it refers to is missing")]
    Missing,
    /// An operator or a function does not take what it gets.
    #[error("an operator or a function does not take a value of this type")]
    WrongType,
    /// Anything else, such as a division by zero.
    #[error("it fails")]
    Failed,
}

impl Expression {
    /// Compiles a text.
    ///
    /// # Errors
    ///
    /// The first mistake in it.
    pub(in crate::config) fn parse(text: &str) -> Result<Self, Mistake> {
        if text.len() > MAX_BYTES {
            return Err(Mistake::whole(format!("has more than {MAX_BYTES} bytes")));
        }
        if text.trim().is_empty() {
            return Err(Mistake::whole("is empty"));
        }
        let text = text.to_owned();
        let compile = thread::Builder::new()
            .name("expression".to_owned())
            .stack_size(PARSER_STACK)
            .spawn(move || compile(text));
        let compiled = compile.map(thread::JoinHandle::join);
        let compiled = compiled.map_err(|_| Mistake::whole("there is no thread to read it"))?;
        let compiled = compiled.map_err(|_| Mistake::whole("cannot be read"))??;
        let expression = Self(Arc::new(compiled));
        expression.dry_run()?;
        Ok(expression)
    }

    /// Evaluates it over requests that are made up.
    fn dry_run(&self) -> Result<(), Mistake> {
        let nothing = |_: Variable| map_of([]);
        for outcome in [self.is_true(nothing), self.is_true(check::sample)] {
            match outcome {
                Err(EvaluationError::NotBoolean) => {
                    return Err(Mistake::whole(EvaluationError::NotBoolean));
                }
                // What the claims and the header of a request are is not known here.
                Err(error)
                    if self.0.findings.is_static() && outcome != Err(EvaluationError::Missing) =>
                {
                    return Err(self.failure(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Where it fails over a request that is made up.
    fn failure(&self, error: EvaluationError) -> Mistake {
        let Compiled { text, program, .. } = &*self.0;
        let mut context = Context::with_env(ENVIRONMENT.clone());
        for variable in &self.0.findings.variables {
            context.add_variable_from_value(variable.name(), check::sample(*variable));
        }
        let failing = catch_unwind(AssertUnwindSafe(|| {
            check::failing(program.expression(), &context)
        }));
        failing.map_or_else(
            |_| Mistake::whole(error),
            |node| check::mistake(program, text, node, error.to_string()),
        )
    }

    /// Evaluates it. `value` is asked for what it looks at, each once.
    ///
    /// # Errors
    ///
    /// There is no verdict.
    pub fn is_true(&self, value: impl Fn(Variable) -> Value) -> Result<bool, EvaluationError> {
        let variables = self.0.findings.variables.iter();
        let variables: Vec<_> = variables.map(|one| (one.name(), value(*one))).collect();
        let mut input = Input::default();
        for (_, value) in &variables {
            input
                .add(value, MAX_VALUE_DEPTH)
                .ok_or(EvaluationError::TooMuch)?;
        }
        if !cost::is_within_budget(self.0.program.expression(), input) {
            return Err(EvaluationError::TooMuch);
        }
        // Whatever an interpreter of somebody else's does: it must not take the request with it.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::with_env(ENVIRONMENT.clone());
            for (name, value) in variables {
                context.add_variable_from_value(name, value);
            }
            self.0.program.execute(&context)
        }));
        match result {
            Ok(Ok(Value::Bool(verdict))) => Ok(verdict),
            Ok(Ok(_)) => Err(EvaluationError::NotBoolean),
            Ok(Err(ExecutionError::NoSuchKey(_))) => Err(EvaluationError::Missing),
            Ok(Err(ExecutionError::NoSuchOverload(_))) => Err(EvaluationError::WrongType),
            Ok(Err(_)) | Err(_) => Err(EvaluationError::Failed),
        }
    }

    /// Whether it looks at this.
    pub fn reads(&self, variable: Variable) -> bool {
        self.0.findings.variables.contains(&variable)
    }

    /// Whether it looks at this member of a variable, be it with all of the variable.
    pub fn reads_member(&self, variable: Variable, member: &str) -> bool {
        self.paths()
            .iter()
            .any(|(of, path)| *of == variable && path.first().is_none_or(|first| first == member))
    }

    /// Whether it needs the claims of a token: by themselves, or for the scopes of an identity.
    pub fn reads_claims(&self) -> bool {
        self.reads(Variable::Claims) || self.reads(Variable::Identity)
    }

    /// What it looks at, each once: a variable, and the names on the way into it.
    pub fn paths(&self) -> &[(Variable, Vec<String>)] {
        &self.0.findings.paths
    }
}

/// Runs on a stack of its own, and leaves nothing that is deeper than it may be.
fn compile(text: String) -> Result<Compiled, Mistake> {
    let program = ENVIRONMENT.compile(&text).map_err(|errors| {
        let mut errors = errors.errors.into_iter();
        errors.next().map_or_else(
            || Mistake::whole("cannot be read"),
            |error| Mistake::of_parser(&text, error.pos, &error.msg),
        )
    })?;
    let findings = check::check(&program, &text)?;
    if !cost::is_within_budget(program.expression(), Input::USUAL) {
        return Err(Mistake::whole("could take too long"));
    }
    Ok(Compiled {
        text,
        program,
        findings,
    })
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

/// Leaves the text out: it may spell a secret that a header is compared with.
impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[expression]")
    }
}

/// A map of these members.
pub fn map_of(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let members = members.into_iter();
    let members: std::collections::HashMap<_, _> = members
        .map(|(name, value)| (name.to_owned().into(), value))
        .collect();
    Value::Map(cel::objects::Map {
        map: Arc::new(members),
    })
}

#[cfg(test)]
mod tests;
