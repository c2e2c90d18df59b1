//! Constraints between parameters: `"layers * hidden <= 512"`. A small total language: numbers, parameters, `+ - * /`,
//! comparisons, `and`, `or`, `not`, `true`, `false`, parentheses, and texts in quotes to compare choices with.
//!
//! Kinds are checked while parsing, so that evaluating cannot fail and allocates nothing. What is not known because a
//! parameter does not exist in a candidate stays unknown (Kleene's three-valued logic), and an unknown constraint holds.

use super::{Domain, Parameter, Space, SpaceError, Value};
use crate::base::registry::nearest;

/// A condition that every candidate must meet.
#[derive(Debug, Clone, PartialEq)]
pub struct Constraint {
    text: String,
    root: Truth,
}

/// What is true, false, or unknown.
#[derive(Debug, Clone, PartialEq)]
enum Truth {
    Constant(bool),
    /// Whether a column has one of these codes.
    OneOf(usize, Vec<f64>),
    Not(Box<Truth>),
    And(Box<Truth>, Box<Truth>),
    Or(Box<Truth>, Box<Truth>),
    Same(Box<Truth>, Box<Truth>),
    Compare(Comparison, Number, Number),
}

/// What is a number, or unknown.
#[derive(Debug, Clone, PartialEq)]
enum Number {
    Constant(f64),
    /// A column whose code is its number.
    Column(usize),
    /// A column whose code is the place of its number.
    Choice(usize, Vec<f64>),
    Arithmetic(Operation, Box<Number>, Box<Number>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Constraint {
    /// Parses an expression over a space's parameters.
    pub fn parse(text: &str, space: &Space) -> Result<Constraint, SpaceError> {
        let mut parser = Parser { text, at: 0, space, depth: 0 };
        if text.len() > LONGEST {
            return Err(parser.error(format!("it is longer than {LONGEST} bytes")));
        }
        let start = parser.start();
        let root = parser.any()?;
        match parser.peek() {
            None => Ok(Constraint { text: text.to_owned(), root: parser.truth(root, start)? }),
            Some(_) => Err(parser.error("an operator is needed here")),
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a candidate meets it; `row` is encoded as in [`super::Points`].
    pub fn holds(&self, row: &[f64]) -> bool {
        self.root.of(row) != Some(false)
    }
}

impl Truth {
    fn of(&self, row: &[f64]) -> Option<bool> {
        match self {
            Truth::Constant(value) => Some(*value),
            Truth::OneOf(column, codes) => existing(row, *column).map(|code| codes.contains(&code)),
            Truth::Not(inner) => inner.of(row).map(|value| !value),
            Truth::And(left, right) => match (left.of(row), right.of(row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Truth::Or(left, right) => match (left.of(row), right.of(row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Truth::Same(left, right) => Some(left.of(row)? == right.of(row)?),
            Truth::Compare(comparison, left, right) => {
                let (left, right) = (left.of(row)?, right.of(row)?);
                Some(match comparison {
                    Comparison::Equal => left == right,
                    Comparison::NotEqual => left != right,
                    Comparison::Less => left < right,
                    Comparison::LessEqual => left <= right,
                    Comparison::Greater => left > right,
                    Comparison::GreaterEqual => left >= right,
                })
            }
        }
    }
}

impl Number {
    fn of(&self, row: &[f64]) -> Option<f64> {
        match self {
            Number::Constant(value) => Some(*value),
            Number::Column(column) => existing(row, *column),
            Number::Choice(column, values) => values.get(existing(row, *column)? as usize).copied(),
            Number::Arithmetic(operation, left, right) => {
                let (left, right) = (left.of(row)?, right.of(row)?);
                Some(match operation {
                    Operation::Add => left + right,
                    Operation::Subtract => left - right,
                    Operation::Multiply => left * right,
                    Operation::Divide => left / right,
                })
            }
        }
    }
}

/// A column's code where its parameter exists.
fn existing(row: &[f64], column: usize) -> Option<f64> {
    row.get(column).copied().filter(|code| !code.is_nan())
}

/// Longer than anyone writes; it bounds how deep a chain of operators nests.
const LONGEST: usize = 4096;

/// Deeper nesting than anyone writes, and shallow enough for any stack.
const DEEPEST: usize = 64;

/// A part of an expression before it is known what is needed of it.
enum Term {
    Truth(Truth),
    Number(Number),
    /// A parameter with choices that are not all numbers.
    Choice(usize),
    Text(String),
}

struct Parser<'a> {
    text: &'a str,
    /// Bytes of the text that are read.
    at: usize,
    space: &'a Space,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// or, and: loosest first.
    fn any(&mut self) -> Result<Term, SpaceError> {
        self.chain("or", Truth::Or, |parser| parser.chain("and", Truth::And, Parser::negation))
    }

    fn chain(
        &mut self,
        word: &str,
        join: fn(Box<Truth>, Box<Truth>) -> Truth,
        part: fn(&mut Self) -> Result<Term, SpaceError>,
    ) -> Result<Term, SpaceError> {
        let start = self.start();
        let mut left = part(self)?;
        while self.take(word) {
            let right_start = self.start();
            let right = part(self)?;
            let (a, b) = (self.truth(left, start)?, self.truth(right, right_start)?);
            left = Term::Truth(join(Box::new(a), Box::new(b)));
        }
        Ok(left)
    }

    /// "not" binds tighter than "and", looser than a comparison.
    fn negation(&mut self) -> Result<Term, SpaceError> {
        if !self.take("not") {
            return self.comparison();
        }
        let start = self.start();
        let inner = self.nested(Parser::negation)?;
        Ok(Term::Truth(Truth::Not(Box::new(self.truth(inner, start)?))))
    }

    fn comparison(&mut self) -> Result<Term, SpaceError> {
        let start = self.start();
        let left = self.sum()?;
        let Some(comparison) = self.comparison_sign() else { return Ok(left) };
        let right_start = self.start();
        let right = self.sum()?;
        let truth = self.compare(comparison, (left, start), (right, right_start))?;
        self.start();
        match self.comparison_sign_follows() {
            true => Err(self.error("comparisons do not chain; write \"a < b and b < c\"")),
            false => Ok(Term::Truth(truth)),
        }
    }

    fn comparison_sign_follows(&mut self) -> bool {
        let at = self.at;
        let follows = self.comparison_sign().is_some();
        self.at = at;
        follows
    }

    fn comparison_sign(&mut self) -> Option<Comparison> {
        // "<=" before "<".
        let signs = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessEqual),
            (">=", Comparison::GreaterEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        signs.into_iter().find(|(sign, _)| self.take(sign)).map(|(_, comparison)| comparison)
    }

    fn compare(
        &self,
        comparison: Comparison,
        (left, left_start): (Term, usize),
        (right, right_start): (Term, usize),
    ) -> Result<Truth, SpaceError> {
        let is_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        let equal = match (left, right) {
            (Term::Choice(column), Term::Text(text)) if is_equality => self.is_text(column, text, right_start)?,
            (Term::Text(text), Term::Choice(column)) if is_equality => self.is_text(column, text, left_start)?,
            (Term::Truth(left), Term::Truth(right)) if is_equality => Truth::Same(Box::new(left), Box::new(right)),
            (left, right) => {
                let (left, right) = (self.number(left, left_start)?, self.number(right, right_start)?);
                return Ok(Truth::Compare(comparison, left, right));
            }
        };
        Ok(if comparison == Comparison::Equal { equal } else { Truth::Not(Box::new(equal)) })
    }

    /// Whether a parameter has a choice. One that the model knows but this study does not search is never had.
    fn is_text(&self, column: usize, text: String, start: usize) -> Result<Truth, SpaceError> {
        let parameter = &self.space.parameters[column];
        let value = Value::Text(text.clone());
        let code = parameter.encode(&value);
        if code.is_none() && !parameter.limits.allow(&value) {
            let choices = parameter.limits.describe();
            let problem = format!("{} never is \"{text}\"; it is one of: {choices}", parameter.name);
            return Err(self.error_at(start, problem));
        }
        Ok(Truth::OneOf(column, code.into_iter().collect()))
    }

    fn sum(&mut self) -> Result<Term, SpaceError> {
        self.arithmetic([("+", Operation::Add), ("-", Operation::Subtract)], |parser| {
            let signs = [("*", Operation::Multiply), ("/", Operation::Divide)];
            parser.arithmetic(signs, |parser| parser.nested(Parser::operand))
        })
    }

    fn arithmetic(
        &mut self,
        signs: [(&str, Operation); 2],
        part: fn(&mut Self) -> Result<Term, SpaceError>,
    ) -> Result<Term, SpaceError> {
        let start = self.start();
        let mut left = part(self)?;
        while let Some((_, operation)) = signs.iter().find(|(sign, _)| self.take(sign)) {
            let right_start = self.start();
            let right = part(self)?;
            let (a, b) = (self.number(left, start)?, self.number(right, right_start)?);
            left = Term::Number(Number::Arithmetic(*operation, Box::new(a), Box::new(b)));
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Term, SpaceError> {
        if self.take("(") {
            let inner = self.any()?;
            return if self.take(")") { Ok(inner) } else { Err(self.error("\")\" is missing here")) };
        }
        if self.take("-") {
            let start = self.start();
            let inner = self.nested(Parser::operand)?;
            let (zero, inner) = (Number::Constant(0.0), self.number(inner, start)?);
            return Ok(Term::Number(Number::Arithmetic(Operation::Subtract, Box::new(zero), Box::new(inner))));
        }
        match self.peek() {
            Some(quote @ ('"' | '\'')) => {
                let rest = &self.text[self.at + 1..];
                let Some(length) = rest.find(quote) else { return Err(self.error("the quote is not closed")) };
                self.at += length + 2;
                Ok(Term::Text(rest[..length].to_owned()))
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.digits(),
            Some(c) if c.is_alphabetic() || c == '_' => self.name(),
            Some(_) => Err(self.error("a number, a parameter or \"(\" is needed here")),
            None => Err(self.error("it ends too early")),
        }
    }

    fn digits(&mut self) -> Result<Term, SpaceError> {
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
                Ok(Term::Number(Number::Constant(value)))
            }
            Err(_) => Err(self.error("this is not a number")),
        }
    }

    fn name(&mut self) -> Result<Term, SpaceError> {
        let rest = self.rest();
        // A parameter of one of several models has a dot in its name.
        let length = rest.find(|c: char| !(c.is_alphanumeric() || "_.".contains(c))).unwrap_or(rest.len());
        let name = &rest[..length];
        let term = match (self.space.index(name), name) {
            (Some(column), _) => parameter_term(column, &self.space.parameters[column]),
            (None, "true") => Term::Truth(Truth::Constant(true)),
            (None, "false") => Term::Truth(Truth::Constant(false)),
            (None, _) => {
                let known = self.space.parameters.iter().map(|parameter| parameter.name.as_str());
                let near = nearest(name, known).map(|near| format!("; did you mean \"{near}\"?"));
                return Err(self.error(format!("\"{name}\" is no parameter{}", near.unwrap_or_default())));
            }
        };
        self.at += length;
        Ok(term)
    }

    fn number(&self, term: Term, start: usize) -> Result<Number, SpaceError> {
        match term {
            Term::Number(number) => Ok(number),
            Term::Truth(_) => Err(self.error_at(start, "a number is needed here, this is true or false")),
            Term::Text(_) => Err(self.error_at(start, "a text can only be compared with a choice, by == or !=")),
            Term::Choice(column) => {
                let name = &self.space.parameters[column].name;
                let problem = format!("{name} is a choice; compare it with a text in quotes, by == or !=");
                Err(self.error_at(start, problem))
            }
        }
    }

    fn truth(&self, term: Term, start: usize) -> Result<Truth, SpaceError> {
        match term {
            Term::Truth(truth) => Ok(truth),
            _ => Err(self.error_at(start, "a comparison is needed here, as in \"hidden <= 512\"")),
        }
    }

    fn nested(&mut self, parse: impl FnOnce(&mut Self) -> Result<Term, SpaceError>) -> Result<Term, SpaceError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error("this is nested too deeply"));
        }
        let term = parse(self);
        self.depth -= 1;
        term
    }

    /// Where the next word begins.
    fn start(&mut self) -> usize {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.at
    }

    /// The rest of the text from the next word on.
    fn rest(&mut self) -> &'a str {
        let start = self.start();
        &self.text[start..]
    }

    fn peek(&mut self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Reads a sign, or a word that ends where the text's word does.
    fn take(&mut self, token: &str) -> bool {
        let is_word = token.chars().all(char::is_alphabetic);
        let continues = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let is_next = self.rest().strip_prefix(token).is_some_and(|rest| !is_word || !continues(rest));
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    fn error(&self, problem: impl Into<String>) -> SpaceError {
        self.error_at(self.at, problem)
    }

    /// An error at a byte of the text; people count characters, from 1.
    fn error_at(&self, byte: usize, problem: impl Into<String>) -> SpaceError {
        let at = self.text[..byte].chars().count() + 1;
        SpaceError::Constraint { text: self.text.to_owned(), at, problem: problem.into() }
    }
}

/// What a parameter is in an expression.
fn parameter_term(column: usize, parameter: &Parameter) -> Term {
    let is = |code: f64| Term::Truth(Truth::OneOf(column, vec![code]));
    match &parameter.domain {
        Domain::Float { .. } | Domain::Int { .. } => Term::Number(Number::Column(column)),
        Domain::Bool => is(1.0),
        Domain::Fixed(Value::Int(_) | Value::Float(_)) => Term::Number(Number::Column(column)),
        // The code of a fixed value that is no number is 0.
        Domain::Fixed(Value::Bool(value)) => is(if *value { 0.0 } else { 1.0 }),
        Domain::Fixed(Value::Text(_)) => Term::Choice(column),
        Domain::Ordinal(choices) | Domain::Categorical(choices) => match &choices[..] {
            // A list of one bool: true is its code 0, or none.
            [Value::Bool(value)] => is(if *value { 0.0 } else { 1.0 }),
            _ => match choices.iter().map(Value::number).collect() {
                Some(numbers) => Term::Number(Number::Choice(column, numbers)),
                None => Term::Choice(column),
            },
        },
    }
}
