//! What an expression looks at and calls, and how it is nested: everything that would never work is
//! found here, whatever it is evaluated over.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::{Context, Program, Value};

use super::{Mistake, Variable, map_of};

/// How deep an expression may be nested, comprehensions expanded. The interpreter takes up
/// to 50 KB of the stack for each level, unoptimized.
const MAX_DEPTH: usize = 16;

/// Functions and operators of the standard library that are there.
const FUNCTIONS: &[&str] = &[
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
    operators::NOT_STRICTLY_FALSE,
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];
/// Names that stand for types.
const TYPES: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

/// What an expression looks at.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Each once.
    pub(super) variables: Vec<Variable>,
    /// The same with the names on the way into them, as far as they are written out.
    pub(super) paths: Vec<(Variable, Vec<String>)>,
}

impl Findings {
    /// Whether the types of all that it looks at are known before there is a request.
    pub(super) fn is_static(&self) -> bool {
        let of_request = |path: &[String]| path.first().is_none_or(|name| name == "headers");
        self.paths.iter().all(|(variable, path)| match variable {
            Variable::Claims => false,
            Variable::Request => !of_request(path),
            Variable::Identity | Variable::Certificate => !path.is_empty(),
        })
    }
}

/// A request as there might be one, for a dry run.
pub(super) fn sample(variable: Variable) -> Value {
    let text = |text: &str| Value::from(text);
    match variable {
        Variable::Claims => map_of([]),
        Variable::Identity => map_of([
            ("method", text("jwt")),
            ("subject", text("alice")),
            ("scopes", Value::from(vec![text("read")])),
            ("key_id", text("key")),
        ]),
        Variable::Request => map_of([
            ("method", text("GET")),
            ("path", text("/")),
            ("host", text("edge.example")),
            ("headers", map_of([])),
            ("client_address", text("192.0.2.1")),
        ]),
        Variable::Certificate => map_of([
            ("subject", text("client")),
            ("sans", Value::from(vec![text("DNS:client.example")])),
            ("sha256", text("00")),
        ]),
    }
}

/// Looks at all of an expression.
pub(super) fn check(program: &Program, text: &str) -> Result<Findings, Mistake> {
    let mut walk = Walk {
        program,
        text,
        bound: Vec::new(),
        findings: Findings::default(),
    };
    walk.visit(program.expression(), 1)?;
    Ok(walk.findings)
}

struct Walk<'p> {
    program: &'p Program,
    text: &'p str,
    /// The variables of the comprehension around.
    bound: Vec<&'p str>,
    findings: Findings,
}

impl<'p> Walk<'p> {
    fn visit(&mut self, node: &'p IdedExpr, depth: usize) -> Result<(), Mistake> {
        if depth > MAX_DEPTH {
            return Err(self.mistake(node, "is nested too deep".to_owned()));
        }
        if let Some((variable, path)) = self.path(node) {
            return self.note(node, variable, path);
        }
        let inner = depth + 1;
        match &node.expr {
            Expr::Ident(name) if self.is_known(name) => Ok(()),
            Expr::Ident(name) => {
                let known = Variable::ALL.map(Variable::name).join(", ");
                let message = format!("there is no variable {name:?}; there are {known}");
                Err(self.mistake(node, message))
            }
            Expr::Select(select) => self.visit(&select.operand, inner),
            Expr::Call(call) => {
                if !FUNCTIONS.contains(&&*call.func_name) {
                    let message = format!("there is no function {:?}", call.func_name);
                    return Err(self.mistake(node, message));
                }
                let target = call.target.as_deref().into_iter();
                let mut parts = target.chain(&call.args);
                parts.try_for_each(|part| self.visit(part, inner))
            }
            Expr::List(list) => list
                .elements
                .iter()
                .try_for_each(|part| self.visit(part, inner)),
            Expr::Map(literal) => literal
                .entries
                .iter()
                .try_for_each(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => {
                        self.visit(&entry.key, inner)?;
                        self.visit(&entry.value, inner)
                    }
                    EntryExpr::StructField(field) => self.visit(&field.value, inner),
                }),
            Expr::Comprehension(loops) => {
                if !self.bound.is_empty() {
                    let message = "a comprehension within another".to_owned();
                    return Err(self.mistake(node, message));
                }
                self.visit(&loops.iter_range, inner)?;
                self.visit(&loops.accu_init, inner)?;
                self.bound.extend([&*loops.iter_var, &*loops.accu_var]);
                self.bound.extend(loops.iter_var2.as_deref());
                let parts = [&loops.loop_cond, &loops.loop_step, &loops.result];
                parts
                    .into_iter()
                    .try_for_each(|part| self.visit(part, inner))?;
                self.bound.clear();
                Ok(())
            }
            Expr::Struct(_) => Err(self.mistake(node, "there are no messages".to_owned())),
            Expr::Literal(_) => Ok(()),
            Expr::Unspecified => Err(self.mistake(node, "cannot be read".to_owned())),
        }
    }

    fn is_known(&self, name: &str) -> bool {
        self.bound.contains(&name) || TYPES.contains(&name)
    }

    /// A variable and the names on the way into it.
    fn path(&self, node: &'p IdedExpr) -> Option<(Variable, Vec<String>)> {
        let mut node = node;
        let mut names = Vec::new();
        loop {
            node = match &node.expr {
                Expr::Ident(name) => {
                    let mut known = Variable::ALL.into_iter();
                    let variable = known.find(|known| known.name() == name)?;
                    names.reverse();
                    return (!self.bound.contains(&&**name)).then_some((variable, names));
                }
                Expr::Select(select) => {
                    names.push(select.field.clone());
                    &select.operand
                }
                Expr::Call(call) if call.func_name == operators::INDEX && call.target.is_none() => {
                    let [operand, index] = call.args.as_slice() else {
                        return None;
                    };
                    let Expr::Literal(LiteralValue::String(name)) = &index.expr else {
                        return None;
                    };
                    names.push(name.inner().to_owned());
                    operand
                }
                _ => return None,
            };
            if names.len() > MAX_DEPTH {
                return None;
            }
        }
    }

    fn note(
        &mut self,
        node: &IdedExpr,
        variable: Variable,
        path: Vec<String>,
    ) -> Result<(), Mistake> {
        let members = variable.members();
        let unknown = path
            .first()
            .filter(|name| !members.is_empty() && !members.contains(&&***name));
        if let Some(name) = unknown {
            let message = format!(
                "{} has no {name:?}; it has {}",
                variable.name(),
                members.join(", ")
            );
            return Err(self.mistake(node, message));
        }
        if let (Variable::Request, [headers, name, ..]) = (variable, path.as_slice())
            && headers == "headers"
            && name.bytes().any(|byte| byte.is_ascii_uppercase())
        {
            let lower = name.to_ascii_lowercase();
            let message = format!("names of header fields are in lower case: write {lower:?}");
            return Err(self.mistake(node, message));
        }
        if !self.findings.variables.contains(&variable) {
            self.findings.variables.push(variable);
        }
        let found = (variable, path);
        if !self.findings.paths.contains(&found) {
            self.findings.paths.push(found);
        }
        Ok(())
    }

    fn mistake(&self, node: &IdedExpr, message: String) -> Mistake {
        mistake(self.program, self.text, node, message)
    }
}

/// A mistake in this part of an expression.
pub(super) fn mistake(program: &Program, text: &str, node: &IdedExpr, message: String) -> Mistake {
    let Some((start, _)) = program.source_info().offset_for(node.id) else {
        return Mistake::whole(message);
    };
    // The parser has operators where they stand, and calls where their parenthesis opens.
    let back = match &node.expr {
        Expr::Call(call) if call.func_name.starts_with(char::is_alphabetic) => call.func_name.len(),
        _ => 0,
    };
    let start = usize::try_from(start).unwrap_or(0);
    Mistake::at(text, start.saturating_sub(back), message)
}

/// The innermost part of an expression that fails because of itself.
pub(super) fn failing<'e>(node: &'e IdedExpr, context: &Context<'_, '_>) -> &'e IdedExpr {
    let parts: Vec<&IdedExpr> = match &node.expr {
        Expr::Call(call) => call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::List(list) => list.elements.iter().collect(),
        _ => Vec::new(),
    };
    let mut failed = parts
        .into_iter()
        .filter(|part| context.resolve(part).is_err());
    failed.next().map_or(node, |part| failing(part, context))
}
