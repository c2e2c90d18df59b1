//! Constraints between parameters: `"layers * hidden <= 512"`. A small total language: numbers, parameters, `+ - * /`,
//! comparisons, `and`, `or`, `not`, parentheses, and texts in quotes to compare choices with.
//!
//! A constraint that names a parameter which does not exist in a candidate holds there.

use super::{Space, SpaceError, Value};

/// A condition that every candidate must meet.
#[derive(Debug, Clone, PartialEq)]
pub struct Constraint {
    text: String,
    root: Node,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    Text(String),
    Column(usize),
    Not(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// What an expression is worth; `None` where a parameter does not exist.
#[derive(Debug, Clone, PartialEq)]
enum Worth {
    Number(f64),
    Bool(bool),
    Text(String),
}

impl Constraint {
    /// Parses an expression over a space's parameters.
    pub fn parse(text: &str, space: &Space) -> Result<Constraint, SpaceError> {
        let mut parser = Parser { text, at: 0, space, depth: 0 };
        let root = parser.binary(0)?;
        match parser.peek() {
            None => Ok(Constraint { text: text.to_owned(), root }),
            Some(_) => Err(parser.error("an operator is needed here")),
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a candidate meets it.
    pub fn holds(&self, space: &Space, row: &[f64]) -> bool {
        !matches!(worth(&self.root, space, row), Some(Worth::Bool(false)))
    }
}

fn worth(node: &Node, space: &Space, row: &[f64]) -> Option<Worth> {
    match node {
        Node::Number(value) => Some(Worth::Number(*value)),
        Node::Text(text) => Some(Worth::Text(text.clone())),
        Node::Column(column) => match space.value(*column, *row.get(*column)?)? {
            Value::Bool(value) => Some(Worth::Bool(value)),
            Value::Text(text) => Some(Worth::Text(text)),
            number => number.number().map(Worth::Number),
        },
        Node::Not(inner) => match worth(inner, space, row)? {
            Worth::Bool(value) => Some(Worth::Bool(!value)),
            other => Some(other),
        },
        Node::Binary(operator, left, right) => combine(*operator, worth(left, space, row), worth(right, space, row)),
    }
}

fn combine(operator: Operator, left: Option<Worth>, right: Option<Worth>) -> Option<Worth> {
    use Operator::*;
    // What does not exist holds: false decides an "and", true an "or", whatever the other side is.
    let truth = |worth: &Option<Worth>| !matches!(worth, Some(Worth::Bool(false)));
    match operator {
        And => return Some(Worth::Bool(truth(&left) && truth(&right))),
        Or => return Some(Worth::Bool(truth(&left) || truth(&right))),
        _ => {}
    }
    let (left, right) = (left?, right?);
    if let (Worth::Number(a), Worth::Number(b)) = (&left, &right) {
        return Some(match operator {
            Add => Worth::Number(a + b),
            Subtract => Worth::Number(a - b),
            Multiply => Worth::Number(a * b),
            Divide => Worth::Number(a / b),
            Less => Worth::Bool(a < b),
            LessEqual => Worth::Bool(a <= b),
            Greater => Worth::Bool(a > b),
            GreaterEqual => Worth::Bool(a >= b),
            NotEqual => Worth::Bool(a != b),
            Equal | And | Or => Worth::Bool(a == b),
        });
    }
    match operator {
        Equal => Some(Worth::Bool(left == right)),
        NotEqual => Some(Worth::Bool(left != right)),
        // Texts have no order and no sum: such a comparison never holds.
        _ => Some(Worth::Bool(false)),
    }
}

/// Operators by how tightly they bind, loosest first.
const LEVELS: [&[(&str, Operator)]; 5] = [
    &[("or", Operator::Or)],
    &[("and", Operator::And)],
    &[
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessEqual),
        (">=", Operator::GreaterEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide)],
];

/// The level of comparisons.
const COMPARISONS: usize = 2;

/// Deeper nesting than anyone writes, and shallow enough for any stack.
const DEEPEST: usize = 64;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    space: &'a Space,
    depth: usize,
}

impl Parser<'_> {
    fn error(&self, problem: impl Into<String>) -> SpaceError {
        let at = self.text[..self.at].chars().count() + 1;
        SpaceError::Constraint { text: self.text.to_owned(), at, problem: problem.into() }
    }

    /// The rest of the text from the next word on.
    fn rest(&mut self) -> &str {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        &self.text[self.at..]
    }

    fn peek(&mut self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest();
        let is_word = token.chars().all(char::is_alphabetic);
        let ends = |rest: &str| !rest[token.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let is_next = rest.starts_with(token) && (!is_word || ends(rest));
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    fn binary(&mut self, level: usize) -> Result<Node, SpaceError> {
        let Some(operators) = LEVELS.get(level) else { return self.nested(Parser::operand) };
        // "not" binds tighter than "and", looser than a comparison.
        if level == COMPARISONS && self.take("not") {
            return Ok(Node::Not(Box::new(self.nested(|parser| parser.binary(COMPARISONS))?)));
        }
        let mut left = self.binary(level + 1)?;
        while let Some((_, operator)) = operators.iter().find(|(token, _)| self.take(token)) {
            let right = self.binary(level + 1)?;
            left = Node::Binary(*operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn nested(&mut self, parse: impl FnOnce(&mut Self) -> Result<Node, SpaceError>) -> Result<Node, SpaceError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error("this is nested too deeply"));
        }
        let node = parse(self);
        self.depth -= 1;
        node
    }

    fn operand(&mut self) -> Result<Node, SpaceError> {
        if self.take("(") {
            let inner = self.binary(0)?;
            return if self.take(")") { Ok(inner) } else { Err(self.error("\")\" is missing here")) };
        }
        if self.take("-") {
            let inner = self.nested(Parser::operand)?;
            return Ok(Node::Binary(Operator::Subtract, Box::new(Node::Number(0.0)), Box::new(inner)));
        }
        match self.peek() {
            Some(quote @ ('"' | '\'')) => {
                let rest = &self.text[self.at + 1..];
                let Some(length) = rest.find(quote) else { return Err(self.error("the quote is not closed")) };
                self.at += length + 2;
                Ok(Node::Text(rest[..length].to_owned()))
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_alphabetic() || c == '_' => self.name(),
            Some(_) => Err(self.error("a number, a parameter or \"(\" is needed here")),
            None => Err(self.error("it ends too early")),
        }
    }

    fn number(&mut self) -> Result<Node, SpaceError> {
        let rest = self.rest();
        // Digits, and an exponent's sign after its e.
        let mut before = ' ';
        let length = rest
            .find(|c: char| {
                let is_part = c.is_ascii_digit() || "._eE".contains(c) || "+-".contains(c) && "eE".contains(before);
                before = c;
                !is_part
            })
            .unwrap_or(rest.len());
        match rest[..length].replace('_', "").parse() {
            Ok(value) => {
                self.at += length;
                Ok(Node::Number(value))
            }
            Err(_) => Err(self.error("this is not a number")),
        }
    }

    fn name(&mut self) -> Result<Node, SpaceError> {
        let rest = self.rest();
        let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let name = rest[..length].to_owned();
        match self.space.index(&name) {
            Some(column) => {
                self.at += length;
                Ok(Node::Column(column))
            }
            None => {
                let known = self.space.parameters.iter().map(|parameter| parameter.name.as_str());
                let near = crate::base::registry::nearest(&name, known);
                let near = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
                Err(self.error(format!("\"{name}\" is no parameter{near}")))
            }
        }
    }
}
