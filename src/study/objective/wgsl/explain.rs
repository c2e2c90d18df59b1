//! What is wrong with a shader's text, at its line: in words of the study where it is about the study, else in the compiler's.

use super::WgslError;
use super::params::Params;
use super::tables::Tables;
use crate::backend::gpu::{UsersFault, UsersFaultKind};
use crate::base::registry::nearest;
use crate::study::error::StudyError;
use crate::study::source::Place;
use std::ops::Range;
use std::path::Path;

/// What a text can call that it does not declare.
const GIVEN: [&str; 4] = ["Params", "random_uniform", "random_normal", "random_word"];

/// A message about a part of a shader's text.
pub(super) fn text(path: &Path, text: &str, span: Option<Range<usize>>, message: String, remedy: String) -> StudyError {
    match span {
        Some(span) => {
            let error = Box::new(WgslError::Text { message, remedy }.into());
            StudyError::At { place: Place::of_span(path, text, span), error }
        }
        None => WgslError::Text { message: format!("{}: {message}", path.display()), remedy }.into(),
    }
}

/// A fault of a shader's text.
pub(super) fn fault(path: &Path, shader: &str, params: &Params, tables: &Tables, fault: UsersFault) -> StudyError {
    let fields = params.fields();
    let near_of = |name: &str, known: &[String]| {
        let near = nearest(name, known.iter().map(String::as_str));
        near.map(|near| format!("; did you mean {near}?")).unwrap_or_default()
    };
    let (message, remedy) = match fault.kind {
        UsersFaultKind::NoSuchField(name) => (
            format!("there is no field or component {name}{}", near_of(&name, &fields)),
            format!("Params has the parameters of [space]: {}", fields.join(", ")),
        ),
        UsersFaultKind::NoSuchName(name) if fields.contains(&name) => (
            format!("nothing is called {name} here"),
            format!("A parameter is a field of what objective takes: p.{name}"),
        ),
        UsersFaultKind::NoSuchName(name) => {
            let given = given(params, tables);
            (
                format!("nothing is called {name}{}", near_of(&name, &given)),
                format!("Beside what WGSL has and the text declares there are: {}", given.join(", ")),
            )
        }
        UsersFaultKind::Redefined(name) => {
            let remedy = match given(params, tables).contains(&name) {
                true => "The study gives it to every shader: call this one otherwise",
                false => "It is there already: call one of them otherwise",
            };
            (format!("{name} is declared twice"), remedy.to_owned())
        }
        UsersFaultKind::EndsEarly => (
            "the text ends within something".to_owned(),
            "A } or a */ is missing before the end: one for each that is opened".to_owned(),
        ),
        UsersFaultKind::NotForLanes(what, instead) => {
            (format!("{what} has no place in an objective"), instead.to_owned())
        }
        UsersFaultKind::Types(words) => (
            words,
            "WGSL converts between f32, i32 and u32 only where it is written: f32(n), i32(x), u32(n)".to_owned(),
        ),
        UsersFaultKind::NoReturn => (
            "a way through the function ends without a value".to_owned(),
            "Each way ends with a return: write one behind the last if or loop, too".to_owned(),
        ),
        UsersFaultKind::Compiler(words) => {
            (words, "This is what WGSL's compiler says; its rules: https://www.w3.org/TR/WGSL/".to_owned())
        }
    };
    text(path, shader, fault.span, message, remedy)
}

/// Names that are put behind every text.
fn given(params: &Params, tables: &Tables) -> Vec<String> {
    let constants = params.constants().map(str::to_owned);
    GIVEN.iter().map(|name| (*name).to_owned()).chain(constants).chain(tables.declared()).collect()
}
