//! The space as WGSL has it: a struct of all parameters, constants for choices between words, and a candidate as the words that
//! fill the struct.

use super::error::WgslError;
use crate::backend::gpu::is_field;
use crate::space::{Domain, Parameter, Space, Value};
use std::fmt::Write;

/// What all fields of conditional parameters begin with that say whether these exist.
const HAS: &str = "has_";

/// A type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    F32,
    I32,
    U32,
    Bool,
}

/// A parameter as a field.
#[derive(Debug, Clone, PartialEq)]
struct Field {
    name: String,
    kind: Type,
    /// Of choices and fixed values the field's bits at each code; `None` where the code is the value.
    words: Option<Vec<u32>>,
    /// The code of its default: what it holds where the parameter does not exist.
    default: f64,
    /// Whether a second field says if it exists.
    is_conditional: bool,
}

/// All parameters.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::study) struct Params {
    fields: Vec<Field>,
    /// Names of choices, and their numbers.
    constants: Vec<(String, u32)>,
}

impl Params {
    /// Of a space; an error, with the parameter that it is about, where WGSL has no place for it.
    pub(super) fn new(space: &Space) -> Result<Params, (String, WgslError)> {
        let mut params = Params { fields: Vec::new(), constants: Vec::new() };
        for parameter in &space.parameters {
            params.add(parameter).map_err(|error| (parameter.name.clone(), error))?;
        }
        let of_has = |field: &&Field| field.is_conditional;
        for flag in params.fields.iter().filter(of_has).map(|field| format!("{HAS}{}", field.name)) {
            if params.fields.iter().any(|field| field.name == flag) {
                let of = flag.strip_prefix(HAS).unwrap_or_default().to_owned();
                return Err((flag.clone(), WgslError::TakenName { name: flag, of }));
            }
        }
        Ok(params)
    }

    fn add(&mut self, parameter: &Parameter) -> Result<(), WgslError> {
        let name = &parameter.name;
        if !is_field(name) {
            let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
            let plain: String = name.chars().map(plain).collect();
            let other = if is_field(&plain) { plain } else { format!("my_{plain}") };
            return Err(WgslError::ParameterName { name: name.clone(), other });
        }
        let range = |value: String| WgslError::Range { name: name.clone(), value };
        let (kind, words) = match &parameter.domain {
            Domain::Float { low, high, .. } => match [low, high].into_iter().find(|end| float(**end).is_none()) {
                Some(end) => return Err(range(format!("{end:?}"))),
                None => (Type::F32, None),
            },
            Domain::Int { low, high, .. } => match [low, high].into_iter().find(|end| i32::try_from(**end).is_err()) {
                Some(end) => return Err(range(end.to_string())),
                None => (Type::I32, None),
            },
            Domain::Bool => (Type::Bool, None),
            Domain::Ordinal(values) | Domain::Categorical(values) => self.choice(name, values)?,
            Domain::Fixed(value) => self.choice(name, std::slice::from_ref(value))?,
        };
        self.fields.push(Field {
            name: name.clone(),
            kind,
            words,
            default: parameter.default,
            is_conditional: !parameter.conditions.is_empty(),
        });
        Ok(())
    }

    /// A choice between numbers is its value; one between words is its number, with a constant for each.
    fn choice(&mut self, name: &str, values: &[Value]) -> Result<(Type, Option<Vec<u32>>), WgslError> {
        let range = |value: &Value| WgslError::Range { name: name.to_owned(), value: value.to_string() };
        let is_whole = |value: &Value| matches!(value, Value::Int(_));
        let number = |value: &Value| match value {
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            Value::Bool(_) | Value::Text(_) => None,
        };
        let of_all =
            |bits: &dyn Fn(&Value) -> Result<u32, WgslError>| values.iter().map(bits).collect::<Result<_, _>>();
        if values.iter().all(is_whole) {
            let bits = |value: &Value| {
                let whole = if let Value::Int(value) = value { i32::try_from(*value).ok() } else { None };
                whole.map(|whole| whole as u32).ok_or_else(|| range(value))
            };
            return Ok((Type::I32, Some(of_all(&bits)?)));
        }
        if values.iter().all(|value| number(value).is_some()) {
            let bits = |value: &Value| number(value).and_then(float).ok_or_else(|| range(value));
            return Ok((Type::F32, Some(of_all(&bits)?)));
        }
        if values.iter().all(|value| matches!(value, Value::Bool(_))) {
            let bits = |value: &Value| Ok(u32::from(*value == Value::Bool(true)));
            return Ok((Type::Bool, Some(of_all(&bits)?)));
        }
        for (index, value) in (0u32..).zip(values) {
            let constant = constant_name(name, &value.to_string());
            if self.constants.iter().any(|(known, _)| *known == constant) {
                return Err(WgslError::ConstantTwice { name: name.to_owned(), value: value.to_string(), constant });
            }
            self.constants.push((constant, index));
        }
        Ok((Type::U32, Some((0u32..).take(values.len()).collect())))
    }

    /// Names of the fields.
    pub(super) fn fields(&self) -> Vec<String> {
        self.fields.iter().flat_map(|field| [Some(field.name.clone()), field.flag()]).flatten().collect()
    }

    /// Names of the constants.
    pub(super) fn constants(&self) -> impl Iterator<Item = &str> {
        self.constants.iter().map(|(name, _)| name.as_str())
    }

    /// Words of a candidate.
    pub(in crate::study) fn words(&self) -> usize {
        self.fields.iter().map(|field| 1 + usize::from(field.is_conditional)).sum()
    }

    /// A candidate's words, from its encoded values.
    pub(in crate::study) fn encode(&self, row: &[f64], words: &mut Vec<u32>) {
        for (field, encoded) in self.fields.iter().zip(row) {
            words.push(field.word(if encoded.is_nan() { field.default } else { *encoded }));
            if field.is_conditional {
                words.push(u32::from(!encoded.is_nan()));
            }
        }
    }

    /// The struct and the constants.
    pub(super) fn declare(&self) -> String {
        let mut text = "struct Params {\n".to_owned();
        for field in &self.fields {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "    {}: {},", field.name, field.kind.name());
            if let Some(flag) = field.flag() {
                let _ = writeln!(text, "    {flag}: bool,");
            }
        }
        text.push_str("}\n");
        for (name, index) in &self.constants {
            let _ = writeln!(text, "const {name}: u32 = {index}u;");
        }
        text
    }

    /// The struct's values, from `thousandfold_point(member, word)`.
    pub(super) fn construct(&self) -> String {
        let mut values = Vec::new();
        for field in &self.fields {
            let word = format!("thousandfold_point(member, {}u)", values.len());
            values.push(match field.kind {
                Type::F32 => format!("bitcast<f32>({word})"),
                Type::I32 => format!("bitcast<i32>({word})"),
                Type::U32 => word,
                Type::Bool => format!("{word} != 0u"),
            });
            if field.is_conditional {
                values.push(format!("thousandfold_point(member, {}u) != 0u", values.len()));
            }
        }
        format!("Params({})", values.join(", "))
    }
}

impl Field {
    /// The field that says whether it exists.
    fn flag(&self) -> Option<String> {
        self.is_conditional.then(|| format!("{HAS}{}", self.name))
    }

    /// The field's bits at a code.
    fn word(&self, encoded: f64) -> u32 {
        match (&self.words, self.kind) {
            (Some(words), _) => words.get(encoded as usize).or(words.first()).copied().unwrap_or(0),
            (None, Type::F32) => (encoded as f32).to_bits(),
            (None, Type::I32) => (encoded as i32) as u32,
            (None, Type::U32 | Type::Bool) => encoded as u32,
        }
    }
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Type::F32 => "f32",
            Type::I32 => "i32",
            Type::U32 => "u32",
            Type::Bool => "bool",
        }
    }
}

/// A number's bits as an f32, if that has one near it: devices take what is below the normal numbers for 0.
pub(super) fn float(value: f64) -> Option<u32> {
    let near = value as f32;
    (value == 0.0 || near.is_normal()).then(|| near.to_bits())
}

/// `ACTIVATION_RELU` of `activation = "relu"`.
fn constant_name(parameter: &str, value: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("{}_{}", parameter.to_ascii_uppercase(), value.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(space: &str) -> Result<Params, String> {
        let space = Space::of_table(&toml::from_str(space).unwrap()).unwrap();
        Params::new(&space).map_err(|(name, error)| format!("{name}: {error}"))
    }

    #[test]
    fn every_kind_of_parameter_is_a_field_and_a_candidate_fills_them() {
        let space = "rate = { log = [1e-3, 1.0] }\nlayers = { int = [-2, 5] }\nkind = ['adam', 'sgd 2']\nsize = [16, 64, 32]\nshare = [0.5, 1]\nis_on = [false, true]\nmomentum = { float = [0.5, 0.9], default = 0.75, when = { kind = 'sgd 2' } }\nfixed = 7\nword = 'one'\n";
        let params = params(space).unwrap();
        let declared = params.declare();
        for line in [
            "rate: f32",
            "layers: i32",
            "kind: u32",
            "size: i32",
            "share: f32",
            "is_on: bool",
            "momentum: f32",
            "has_momentum: bool",
            "fixed: i32",
            "word: u32",
        ] {
            assert!(declared.contains(&format!("    {line},\n")), "{line}: {declared}");
        }
        for line in ["const KIND_ADAM: u32 = 0u;", "const KIND_SGD_2: u32 = 1u;", "const WORD_ONE: u32 = 0u;"] {
            assert!(declared.contains(line), "{line}: {declared}");
        }
        assert!(!declared.contains("SIZE_"), "numbers are their values");
        let names = params.fields();
        let mut row = vec![0.0; 9];
        let columns = ["rate", "layers", "kind", "size", "share", "is_on", "momentum", "fixed", "word"];
        let order: Vec<&String> = names.iter().filter(|name| *name != "has_momentum").collect();
        let codes = [0.25, -2.0, 0.0, 1.0, 0.0, 1.0, f64::NAN, 7.0, 0.0];
        for (column, code) in columns.into_iter().zip(codes) {
            row[order.iter().position(|name| *name == column).unwrap()] = code;
        }
        let mut words = Vec::new();
        params.encode(&row, &mut words);
        let word = |name: &str| words[names.iter().position(|known| known == name).unwrap()];
        assert_eq!(words.len(), params.words());
        assert_eq!((word("rate"), word("layers"), word("kind")), (0.25f32.to_bits(), -2i32 as u32, 0));
        assert_eq!((word("size"), word("share"), word("is_on")), (64, 0.5f32.to_bits(), 1));
        assert_eq!((word("momentum"), word("has_momentum")), (0.75f32.to_bits(), 0), "its default, and a word of it");
        assert_eq!((word("fixed"), word("word")), (7, 0));
    }

    #[test]
    fn what_a_shader_has_no_place_for_is_said() {
        for (space, part) in [
            ("loop = { float = [0, 1] }", "loop"),
            ("'a-b' = { float = [0, 1] }", "a-b"),
            ("__a = { float = [0, 1] }", "__a"),
            ("n = { int = [0, 5000000000] }", "5000000000"),
            ("x = { log = [1e-300, 1] }", "1e-300"),
            ("x = { float = [0, 1e39] }", "1e39"),
            ("x = [1, 5000000000]", "5000000000"),
            ("k = ['+', '-']", "K__"),
            ("k = ['a', 'b']\nm = { float = [0, 1], when = { k = 'a' } }\nhas_m = { float = [0, 1] }", "has_m"),
        ] {
            let error = params(space).unwrap_err();
            assert!(error.contains(part), "{space}: {error}");
        }
    }
}
