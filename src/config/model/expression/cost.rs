//! What evaluating an expression may cost, reckoned from its form and from how much it looks at.

use cel::Value;
use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

/// The most that one evaluation may cost: some tens of milliseconds at the very worst. A unit is
/// about what it takes to compare two short values.
const BUDGET: f64 = 1_000_000.0;
/// Bytes of a text that cost a unit.
const BYTES: f64 = 16.0;

/// How much an expression looks at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Input {
    /// Values, those in others included.
    values: f64,
    /// Bytes of all texts.
    bytes: f64,
}

impl Input {
    /// More than most tokens have. What could take too long over this much is not a condition for
    /// requests.
    pub(super) const USUAL: Self = Self {
        values: 128.0,
        bytes: 8192.0,
    };

    /// `None`: it is nested deeper than `depth`.
    pub(super) fn add(&mut self, value: &Value, depth: usize) -> Option<()> {
        let inner = depth.checked_sub(1)?;
        self.values += 1.0;
        match value {
            Value::String(text) => self.bytes += float(text.len()),
            Value::Bytes(bytes) => self.bytes += float(bytes.len()),
            Value::List(elements) => {
                elements
                    .iter()
                    .try_for_each(|element| self.add(element, inner))?;
            }
            Value::Map(members) => {
                for (name, member) in members.map.iter() {
                    if let cel::objects::Key::String(name) = name {
                        self.bytes += float(name.len());
                    }
                    self.add(member, inner)?;
                }
            }
            _ => {}
        }
        Some(())
    }

    /// No part of it is larger.
    fn size(self) -> Size {
        Size {
            elements: self.values,
            total: self.values + self.bytes / BYTES,
        }
    }
}

/// How large a value may be.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Elements or members of it.
    elements: f64,
    /// What it costs to go over all of it.
    total: f64,
}

impl Size {
    const NONE: Self = Self {
        elements: 0.0,
        total: 0.0,
    };
    const ONE: Self = Self {
        elements: 1.0,
        total: 1.0,
    };

    fn or(self, other: Self) -> Self {
        Self {
            elements: self.elements.max(other.elements),
            total: self.total.max(other.total),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            elements: self.elements + other.elements,
            total: self.total + other.total,
        }
    }
}

/// Whether evaluating it over this much is sure to end soon.
pub(super) fn is_within_budget(expression: &IdedExpr, input: Input) -> bool {
    let mut reckoning = Reckoning {
        input: input.size(),
        bound: Vec::new(),
        cost: 0.0,
    };
    reckoning.add(expression);
    // Not a number is not within it either.
    reckoning.cost <= BUDGET
}

struct Reckoning<'e> {
    input: Size,
    /// The variables of the comprehension around.
    bound: Vec<(&'e str, Size)>,
    cost: f64,
}

impl<'e> Reckoning<'e> {
    /// Adds what evaluating this costs; how large its value may be.
    fn add(&mut self, node: &'e IdedExpr) -> Size {
        self.cost += 1.0;
        match &node.expr {
            Expr::Literal(LiteralValue::String(text)) => Size {
                elements: 1.0,
                total: 1.0 + float(text.inner().len()) / BYTES,
            },
            Expr::Literal(_) | Expr::Unspecified => Size::ONE,
            Expr::Ident(name) => {
                let mut bound = self.bound.iter();
                let bound = bound.find(|(bound, _)| bound == name);
                bound.map_or(self.input, |(_, size)| *size)
            }
            Expr::Select(select) => {
                let size = self.add(&select.operand);
                if select.test { Size::ONE } else { size }
            }
            Expr::List(list) => {
                let elements = float(list.elements.len());
                let size = Size {
                    elements,
                    total: elements + self.all(&list.elements).total,
                };
                self.cost += size.total;
                size
            }
            Expr::Map(literal) => {
                let mut size = Size::ONE;
                for entry in &literal.entries {
                    match &entry.expr {
                        EntryExpr::MapEntry(entry) => {
                            size = size.and(self.add(&entry.key)).and(self.add(&entry.value));
                        }
                        EntryExpr::StructField(field) => size = size.and(self.add(&field.value)),
                    }
                }
                self.cost += size.total;
                size
            }
            Expr::Struct(literal) => {
                self.cost += float(literal.entries.len());
                Size::ONE
            }
            // The interpreter appends to a result in its place.
            Expr::Call(call) if call.func_name == operators::ADD && self.appends(&call.args) => {
                let size = self.add(&call.args[1]);
                self.cost += size.total;
                self.add(&call.args[0]).and(size)
            }
            Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
                let mut sizes = call.args.iter().map(|part| self.add(part));
                // The condition is no part of the value.
                sizes.next();
                sizes.fold(Size::NONE, Size::or)
            }
            Expr::Call(call) => {
                let target = call.target.as_deref().map(|target| self.add(target));
                let size = target.unwrap_or(Size::NONE).and(self.all(&call.args));
                match &*call.func_name {
                    operators::LOGICAL_AND
                    | operators::LOGICAL_OR
                    | operators::LOGICAL_NOT
                    | operators::NOT_STRICTLY_FALSE => return Size::ONE,
                    // One of its parts is its value.
                    operators::INDEX => return size,
                    _ => {}
                }
                // At worst, it goes over all that it is given.
                self.cost += size.total;
                match &*call.func_name {
                    operators::ADD | "string" | "bytes" | "dyn" => size,
                    _ => Size::ONE,
                }
            }
            Expr::Comprehension(loops) => {
                let range = self.add(&loops.iter_range);
                let start = self.add(&loops.accu_init);
                let before = self.cost;
                // The first pass tells what one turn adds to the result, the second what a turn
                // costs once the result has grown.
                let turn = self.turn(loops, range, Size::NONE);
                self.cost = before;
                let grown = Size {
                    elements: start.elements + range.elements * turn.elements,
                    total: start.total + range.elements * turn.total,
                };
                self.turn(loops, range, grown);
                self.cost = before + (self.cost - before) * range.elements.max(1.0);
                let size = self.add(&loops.result);
                self.bound.clear();
                size
            }
        }
    }

    /// The elements of the range are no larger together than the range, so each counts as the
    /// average.
    fn turn(&mut self, loops: &'e ComprehensionExpr, range: Size, accumulated: Size) -> Size {
        let average = 1.0 + range.total / range.elements.max(1.0);
        let element = Size {
            elements: average,
            total: average,
        };
        let second = loops.iter_var2.as_deref().map(|name| (name, element));
        self.bound = vec![(&loops.accu_var, accumulated), (&loops.iter_var, element)];
        self.bound.extend(second);
        self.add(&loops.loop_cond);
        self.add(&loops.loop_step)
    }

    fn all(&mut self, nodes: &'e [IdedExpr]) -> Size {
        let sizes = nodes.iter().map(|node| self.add(node));
        sizes.fold(Size::NONE, Size::and)
    }

    /// Whether something is added to the result of the comprehension around.
    fn appends(&self, args: &[IdedExpr]) -> bool {
        let result = self.bound.first().map(|(name, _)| *name);
        matches!(args, [IdedExpr { expr: Expr::Ident(name), .. }, _] if Some(&**name) == result)
    }
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn float(count: usize) -> f64 {
    count as f64
}
