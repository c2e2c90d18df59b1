//! WGSL that a user wrote: read and explained before any device sees it, and made safe to run. Every loop counts its turns,
//! and leaves when those that a lane may have are used up; all run-time checks stay on.
//!
//! The user's text stands first in its kernel, so that the lines of an error are the user's own.

mod text;

pub(super) use text::counted;

use super::kernel::Kernel;
use std::ops::Range;
use text::{open_comment, refuse_words, stage};
use wgpu::naga;

use naga::front::wgsl::{Frontend, Options, ParseError};
use naga::proc::Layouter;
use naga::valid::{
    CallError, Capabilities, ExpressionError, FunctionError, ValidationError, ValidationFlags, Validator,
};
use naga::{AddressSpace, ArraySize, Block, Expression, Function, GlobalVariable, Handle, Module, Scalar, ScalarKind};
use naga::{Span, Statement, Type, TypeInner, WithSpan};

/// The kernel's private variable of turns that are left.
pub const TURNS_LEFT: &str = "thousandfold_turns_left";
/// The kernel's private variable that is set where a loop was left for want of turns.
pub const IS_ENDLESS: &str = "thousandfold_is_endless";

/// What all names begin with that are put behind a user's text and are not for the user.
const PREFIX: &str = "thousandfold_";

/// WGSL's limits on the variables of a lane, and on those of a function.
const OWN_BYTES: u64 = 8192;

/// Stack of the thread that reads a shader: each brace, bracket and sign of its text takes some.
const STACK_BYTES: usize = 64 << 20;
/// Statements that an evaluation may come to at most where no loop turns twice: loops count their turns, calls do not.
const MOST_STATEMENTS: u64 = 1_000_000;

/// What a function of a user's shader takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsersFunction {
    /// The types of its arguments, as far as they have names of their own.
    pub takes: Vec<String>,
    /// What it gives, in WGSL's words; `None` where it gives nothing.
    pub gives: Option<String>,
    /// How many `f32` that is: of an `f32`, a vector or an array of them. `None` of anything else.
    pub values: Option<usize>,
    /// Whether it is one number, no vector or array of one.
    pub is_scalar: bool,
    /// Where it is in the user's text.
    pub span: Range<usize>,
}

/// What is wrong with a user's shader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsersFault {
    /// Where in the user's text; `None` where that cannot be said.
    pub span: Option<Range<usize>>,
    /// What kind of thing it is.
    pub kind: UsersFaultKind,
}

/// Kinds of faults, by what can be done about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsersFaultKind {
    /// A field that a struct does not have, or a component that a vector does not have.
    NoSuchField(String),
    /// A name that nothing has.
    NoSuchName(String),
    /// A name that something else has already, of the text or of what is put behind it.
    Redefined(String),
    /// The text ends within something.
    EndsEarly,
    /// Something that a function evaluated lane by lane has no use for; what it is, and what to write instead.
    NotForLanes(&'static str, &'static str),
    /// Types that do not go together.
    Types(String),
    /// A way through a function that has a value ends without one.
    NoReturn,
    /// Anything else, in the compiler's words.
    Compiler(String),
}

/// Reads a kernel with a user's text, and looks at one of its functions; `None` where it has no function of that name.
pub fn inspect(kernel: &Kernel, function: &str) -> Result<Option<UsersFunction>, UsersFault> {
    let own = kernel.users.as_deref().unwrap_or_default();
    refuse_words(own)?;
    if let Some(open) = open_comment(own) {
        return Err(UsersFault { span: Some(open), kind: UsersFaultKind::EndsEarly });
    }
    let text = format!("{own}\n{}", kernel.without_users());
    on_a_large_stack(|| {
        let module = parse(&text).map_err(|error| explain_parse(&error, own))?;
        refuse(&module, kernel.entry, own)?;
        let validated = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module);
        validated.map_err(|error| explain_validation(&error, &module, own))?;
        let counted = parse(&kernel.wgsl()).map_err(|error| explain_parse(&error, ""))?;
        // What runs is another text than what was validated.
        let validated = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&counted);
        validated.map_err(|error| explain_validation(&error, &counted, ""))?;
        let ((all, _), (still, counting)) = (loops(&module), loops(&counted));
        if (all, all) != (still, counting) {
            let words =
                format!("{counting} of its {all} loops can be found: write each as WGSL's specification has it");
            return Err(UsersFault { span: None, kind: UsersFaultKind::Compiler(words) });
        }
        let is_it = |(_, one): &(Handle<Function>, &Function)| one.name.as_deref() == Some(function);
        Ok(module.functions.iter().find(is_it).map(|(handle, one)| described(&module, handle, one, own)))
    })
    .unwrap_or_else(|Panicked| {
        let words = "the compiler itself fails on this text".to_owned();
        Err(UsersFault { span: None, kind: UsersFaultKind::Compiler(words) })
    })
}

/// Whether a field of a struct can be called so: by letters, digits and `_`, and by no word of the language.
pub fn is_field(name: &str) -> bool {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_plain && !name.starts_with(PREFIX) && parse(&format!("struct S {{ {name}: f32 }}")).is_ok()
}

fn parse(text: &str) -> Result<Module, Box<ParseError>> {
    // No device is asked for what WGSL leaves optional.
    let options = Options { parse_doc_comments: false, capabilities: Capabilities::empty() };
    Frontend::new_with_options(options).parse(text).map_err(Box::new)
}

/// The compiler gave up on a text in a way that it has no words for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panicked;

/// The compiler goes down into a text by calling itself: a deep text must not take the caller's stack.
pub(super) fn on_a_large_stack<T: Send>(work: impl Fn() -> T + Sync) -> Result<T, Panicked> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("shader".to_owned()).stack_size(STACK_BYTES);
        match builder.spawn_scoped(scope, &work) {
            Ok(thread) => thread.join().map_err(|_| Panicked),
            // Without a thread to be had it is read here: few texts are deep.
            Err(_) => Ok(work()),
        }
    })
}

fn described(module: &Module, handle: Handle<Function>, function: &Function, own: &str) -> UsersFunction {
    let named = |ty: Handle<Type>| name_of(module, ty);
    let result = function.result.as_ref().map(|result| result.ty);
    UsersFunction {
        takes: function.arguments.iter().map(|argument| named(argument.ty)).collect(),
        gives: result.map(named),
        values: result.and_then(|ty| values_of(module, ty)),
        is_scalar: result.is_some_and(|ty| matches!(module.types[ty].inner, TypeInner::Scalar(_))),
        span: within(module.functions.get_span(handle), own).unwrap_or(0..0),
    }
}

/// A type as WGSL writes it.
fn name_of(module: &Module, ty: Handle<Type>) -> String {
    let Type { name, inner } = &module.types[ty];
    // Another name for a number is one all the same.
    let has_own = matches!(inner, TypeInner::Struct { .. });
    name.clone().filter(|_| has_own).unwrap_or_else(|| name_of_inner(module, inner))
}

fn name_of_inner(module: &Module, inner: &TypeInner) -> String {
    match inner {
        TypeInner::Scalar(scalar) => name_of_scalar(*scalar),
        TypeInner::Vector { size, scalar } => format!("vec{}<{}>", *size as u8, name_of_scalar(*scalar)),
        TypeInner::Matrix { columns, rows, scalar } => {
            format!("mat{}x{}<{}>", *columns as u8, *rows as u8, name_of_scalar(*scalar))
        }
        TypeInner::Array { base, size: ArraySize::Constant(count), .. } => {
            format!("array<{}, {count}>", name_of(module, *base))
        }
        _ => "another type".to_owned(),
    }
}

fn name_of_scalar(Scalar { kind, width }: Scalar) -> String {
    let bits = 8 * u32::from(width);
    match kind {
        ScalarKind::Sint => format!("i{bits}"),
        ScalarKind::Uint => format!("u{bits}"),
        ScalarKind::Float => format!("f{bits}"),
        ScalarKind::Bool => "bool".to_owned(),
        ScalarKind::AbstractInt | ScalarKind::AbstractFloat => "a number".to_owned(),
    }
}

/// How many `f32` a type has, if it has nothing else.
fn values_of(module: &Module, ty: Handle<Type>) -> Option<usize> {
    let is_float = |inner: &TypeInner| matches!(inner, TypeInner::Scalar(scalar) if *scalar == Scalar::F32);
    match &module.types[ty].inner {
        TypeInner::Vector { size, scalar } => (*scalar == Scalar::F32).then_some(*size as usize),
        TypeInner::Array { base, size: ArraySize::Constant(count), .. } if is_float(&module.types[*base].inner) => {
            usize::try_from(count.get()).ok()
        }
        inner => is_float(inner).then_some(1),
    }
}

/// What a function of one lane cannot have: whatever is shared with other lanes, or filled by somebody else.
fn refuse(module: &Module, entry: &str, own: &str) -> Result<(), UsersFault> {
    let fault = |span: Option<Range<usize>>, what, instead| {
        Err(UsersFault { span, kind: UsersFaultKind::NotForLanes(what, instead) })
    };
    if module.entry_points.iter().any(|point| point.name != entry) {
        return fault(stage(own), "an entry point", "Write a plain function: what starts it is put behind the text");
    }
    for (handle, variable) in module.global_variables.iter() {
        let Some(span) = within(module.global_variables.get_span(handle), own) else { continue };
        match variable.space {
            AddressSpace::Private => {}
            AddressSpace::WorkGroup => {
                let instead = "Each candidate is evaluated by itself: var<private>, or a variable of the function";
                return fault(Some(span), "memory that candidates would share", instead);
            }
            _ => {
                let instead =
                    "Data come as tables: [objective.tables] name = \"data.csv\", read by name_at(row, column)";
                return fault(Some(span), "a binding of its own", instead);
            }
        }
    }
    if let Some((handle, _)) = module.overrides.iter().next() {
        return fault(within(module.overrides.get_span(handle), own), "an override", "Write const in its place");
    }
    refuse_large(module, own)?;
    refuse_long(module, own)?;
    for (_, function) in module.functions.iter() {
        if let Some((what, span)) = first_shared(&function.body)
            && let Some(span) = within(span, own)
        {
            return fault(Some(span), what, "Each candidate is evaluated by itself: leave it out");
        }
    }
    Ok(())
}

/// Memory that a lane has of its own is as small as WGSL says that all devices have it: some take more for a fault of theirs.
fn refuse_large(module: &Module, own: &str) -> Result<(), UsersFault> {
    let fault = |span: Span| {
        let instead = "Data come as tables: [objective.tables] name = \"data.csv\", read by name_at(row, column)";
        let what = "more memory of its own than the 8192 bytes that WGSL gives a lane, or each of its functions,";
        Err(UsersFault { span: within(span, own), kind: UsersFaultKind::NotForLanes(what, instead) })
    };
    let mut layouter = Layouter::default();
    if layouter.update(module.to_ctx()).is_err() {
        // What has no layout is no valid type, which is said elsewhere.
        return Ok(());
    }
    let bytes = |ty: Handle<Type>| u64::from(layouter[ty].size);
    let of_host = |(_, variable): &(_, &GlobalVariable)| variable.space != AddressSpace::Private;
    let of_others: Vec<Handle<Type>> = module.global_variables.iter().filter(of_host).map(|(_, one)| one.ty).collect();
    let is_private = |(_, variable): &(_, &GlobalVariable)| variable.space == AddressSpace::Private;
    let private: Vec<_> = module.global_variables.iter().filter(is_private).collect();
    if private.iter().map(|(_, variable)| bytes(variable.ty)).sum::<u64>() > OWN_BYTES {
        // What is put behind the text has a few of them, too.
        let mut spans = private.iter().map(|(handle, _)| module.global_variables.get_span(*handle));
        return fault(spans.rfind(|span| within(*span, own).is_some()).unwrap_or_default());
    }
    for (_, function) in module.functions.iter() {
        let mut sum = 0;
        for (handle, variable) in function.local_variables.iter() {
            sum += bytes(variable.ty);
            if sum > OWN_BYTES {
                return fault(function.local_variables.get_span(handle));
            }
        }
    }
    if let Some((ty, _)) = module.types.iter().find(|(ty, _)| bytes(*ty) > OWN_BYTES && !of_others.contains(ty)) {
        return fault(module.types.get_span(ty));
    }
    Ok(())
}

/// Functions that call others twice and twice again never end, though no loop turns.
fn refuse_long(module: &Module, own: &str) -> Result<(), UsersFault> {
    fn statements(block: &Block, of_functions: &[u64]) -> u64 {
        let of = |statement: &Statement| {
            let inner = |block: &Block| statements(block, of_functions);
            match statement {
                Statement::Block(block) => inner(block),
                Statement::If { accept, reject, .. } => inner(accept).saturating_add(inner(reject)),
                Statement::Switch { cases, .. } => {
                    cases.iter().fold(0, |sum: u64, case| sum.saturating_add(inner(&case.body)))
                }
                Statement::Loop { body, continuing, .. } => inner(body).saturating_add(inner(continuing)),
                Statement::Call { function, .. } => of_functions.get(function.index()).copied().unwrap_or(0),
                _ => 0,
            }
        };
        block.iter().fold(0, |sum: u64, statement| sum.saturating_add(1).saturating_add(of(statement)))
    }
    // Whoever is called stands before whoever calls.
    let mut of_functions = Vec::with_capacity(module.functions.len());
    for (handle, function) in module.functions.iter() {
        let all = statements(&function.body, &of_functions);
        if all > MOST_STATEMENTS {
            let span = within(module.functions.get_span(handle), own);
            let instead = "What it calls calls others again and again: let a loop do it, whose turns are counted";
            let kind =
                UsersFaultKind::NotForLanes("a function whose calls come to more than a million statements", instead);
            return Err(UsersFault { span, kind });
        }
        of_functions.push(all);
    }
    Ok(())
}

/// The first statement by which lanes would wait for each other or hear of each other.
fn first_shared(block: &Block) -> Option<(&'static str, Span)> {
    block.span_iter().find_map(|(statement, span)| match statement {
        Statement::Block(block) => first_shared(block),
        Statement::If { accept, reject, .. } => first_shared(accept).or_else(|| first_shared(reject)),
        Statement::Switch { cases, .. } => cases.iter().find_map(|case| first_shared(&case.body)),
        Statement::Loop { body, continuing, .. } => first_shared(body).or_else(|| first_shared(continuing)),
        Statement::Emit(_)
        | Statement::Break
        | Statement::Continue
        | Statement::Return { .. }
        | Statement::Store { .. }
        | Statement::Call { .. } => None,
        Statement::Kill => Some(("discard, which ends more than the function", *span)),
        Statement::ControlBarrier(_) | Statement::MemoryBarrier(_) => Some(("a barrier", *span)),
        _ => Some(("an operation over several candidates", *span)),
    })
}

/// A span, if it lies in the user's own text.
fn within(span: Span, own: &str) -> Option<Range<usize>> {
    span.to_range().filter(|range| range.start < own.len() && own.get(range.start..range.end.min(own.len())).is_some())
}

fn explain_parse(error: &ParseError, own: &str) -> UsersFault {
    let labels: Vec<Range<usize>> = error.labels().filter_map(|(span, _)| within(span, own)).collect();
    let notes: String = error.notes().map(|note| format!("; {note}")).collect();
    // It may quote what stands behind the text.
    let message: String = format!("{}{notes}", error.message()).chars().take(LONGEST).collect();
    if let Some(span) = labels.first().filter(|span| span.end <= own.len()) {
        return UsersFault { span: Some(span.clone()), kind: kind_of(error.message(), message) };
    }
    // What is wrong shows behind the text: by itself it has no end, or it changes what the words behind it mean.
    let end = own.trim_end().len();
    let at_end = |error: &ParseError| {
        let is_behind = |span: Span| span.to_range().is_none_or(|range| range.start >= end);
        error.labels().next().is_none_or(|(span, _)| is_behind(span)) || error.message().starts_with("unterminated")
    };
    match parse(own) {
        Err(alone) if at_end(&alone) => {
            let last = own[..end].char_indices().next_back().map_or(0, |(at, _)| at);
            UsersFault { span: Some(last..end), kind: UsersFaultKind::EndsEarly }
        }
        _ => UsersFault { span: None, kind: UsersFaultKind::Compiler(message) },
    }
}

/// Characters of the compiler's words that are shown at most.
const LONGEST: usize = 300;

/// naga's words say of what kind an error is; its types do not.
fn kind_of(words: &str, message: String) -> UsersFaultKind {
    let quoted = words.split('`').nth(1).unwrap_or_default().to_owned();
    match () {
        () if words.starts_with("invalid field accessor") => UsersFaultKind::NoSuchField(quoted),
        () if words.starts_with("no definition in scope") => UsersFaultKind::NoSuchName(quoted),
        () if words.starts_with("redefinition of") => UsersFaultKind::Redefined(quoted),
        () if ["is expected to be", "conversions cannot", "inconsistent type"]
            .iter()
            .any(|part| words.contains(part)) =>
        {
            UsersFaultKind::Types(message)
        }
        () => UsersFaultKind::Compiler(message),
    }
}

fn explain_validation(error: &WithSpan<ValidationError>, module: &Module, own: &str) -> UsersFault {
    // The function it is in has a span, too: the narrowest says most.
    let spans = error.spans().filter_map(|(span, _)| within(*span, own));
    let span = spans.min_by_key(|span| span.len());
    let types = |words: &str| UsersFaultKind::Types(words.to_owned());
    let kind = match error.as_inner() {
        ValidationError::Function { source: FunctionError::Expression { source, .. }, .. } => match source {
            ExpressionError::InvalidBinaryOperandTypes { op, lhs_type, rhs_type, .. } => {
                let [left, right] = [lhs_type, rhs_type].map(|inner| name_of_inner(module, inner));
                types(&format!("{op:?} is not possible of {left} and {right}"))
            }
            source => UsersFaultKind::Compiler(source.to_string()),
        },
        ValidationError::Function { source, .. } => match source {
            FunctionError::InvalidReturnType { expression: None, .. } => UsersFaultKind::NoReturn,
            FunctionError::InvalidReturnType { .. } => {
                types("what is returned is not of the type that the function has")
            }
            FunctionError::InvalidIfType(_) => types("a condition is a bool, and this is none"),
            FunctionError::InvalidStoreTypes { .. } => types("what is assigned is not of the type of what takes it"),
            FunctionError::InvalidCall { error: CallError::ArgumentType { index, .. }, .. } => {
                types(&format!("argument {} is not of the type that the function takes", index + 1))
            }
            source => UsersFaultKind::Compiler(chain(source)),
        },
        other => UsersFaultKind::Compiler(chain(other)),
    };
    UsersFault { span, kind }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        words = format!("{words}: {one}");
        cause = one.source();
    }
    words
}

/// Loops of a module's functions, and how many of them begin by a look at the turns that are left.
fn loops(module: &Module) -> (usize, usize) {
    fn in_block(
        block: &Block,
        function: &Function,
        is_left: &dyn Fn(Handle<GlobalVariable>) -> bool,
    ) -> (usize, usize) {
        let add = |a: (usize, usize), b: (usize, usize)| (a.0 + b.0, a.1 + b.1);
        let loaded = |handle| match function.expressions[handle] {
            Expression::Load { pointer } => {
                matches!(function.expressions[pointer], Expression::GlobalVariable(variable) if is_left(variable))
            }
            _ => false,
        };
        let begins = |body: &Block| {
            let emitted =
                body.iter().find_map(|s| if let Statement::Emit(range) = s { Some(range.clone()) } else { None });
            emitted.is_some_and(|range| range.into_iter().any(loaded))
        };
        // What is written as the body of a loop with a condition stands in a block behind that.
        let looks = |body: &Block| {
            let inner = body.iter().find_map(|s| if let Statement::Block(block) = s { Some(block) } else { None });
            begins(body) || inner.is_some_and(begins)
        };
        block.iter().fold((0, 0), |sum, statement| {
            let inner = |block: &Block| in_block(block, function, is_left);
            let found = match statement {
                Statement::Block(block) => inner(block),
                Statement::If { accept, reject, .. } => add(inner(accept), inner(reject)),
                Statement::Switch { cases, .. } => cases.iter().fold((0, 0), |sum, case| add(sum, inner(&case.body))),
                Statement::Loop { body, continuing, .. } => {
                    let own = (1, usize::from(looks(body)));
                    add(own, add(inner(body), inner(continuing)))
                }
                _ => (0, 0),
            };
            add(sum, found)
        })
    }
    let is_left = |handle: Handle<GlobalVariable>| module.global_variables[handle].name.as_deref() == Some(TURNS_LEFT);
    let all = module.functions.iter().map(|(_, function)| in_block(&function.body, function, &is_left));
    all.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loop_counts_its_turns_and_nothing_else_changes() {
        let text = "fn f() -> i32 { // for {\n  var n = 0; /* while { /* loop { */ */ for (var i = 0; i < 3; i += 1) { n += i; }\n  \
                    while (n < 9) /* { */ { loop { n += 1; continuing { loop { break; } break if n > 7; } } }\n  let formula = 1; \
                    return n + formula; }\n";
        let counted = counted(text);
        assert_eq!(counted.lines().count(), text.lines().count());
        let turn = format!(" if ({TURNS_LEFT} == 0u) {{ {IS_ENDLESS} = 1u; break; }} {TURNS_LEFT} -= 1u;");
        assert_eq!(counted.matches(&turn).count(), 4);
        assert_eq!(counted.replace(&turn, ""), text);
        let declared = format!("{counted}\nvar<private> {TURNS_LEFT}: u32;\nvar<private> {IS_ENDLESS}: u32;\n");
        assert_eq!(loops(&parse(&declared).unwrap()), (4, 4));
        let undeclared = format!("{text}\nvar<private> {TURNS_LEFT}: u32;\n");
        assert_eq!(loops(&parse(&undeclared).unwrap()), (4, 0));
    }
}
