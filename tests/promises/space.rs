//! The space's codec is exact, and what a study writes about it is understood or refused with a reason.

use proptest::prelude::*;
use thousandfold::data::Task;
use thousandfold::models::{DataShape, MODELS};
use thousandfold::space::constraint::Constraint;
use thousandfold::space::{Codec, Domain, Limits, Parameter, Scale, Space, SpaceBuilder, Value};

fn parameter(domain: Domain) -> Parameter {
    Parameter {
        name: "p".to_owned(),
        domain,
        default: 0.0,
        limits: Limits::Real(-1e300, 1e300),
        conditions: Vec::new(),
    }
}

fn int(low: i64, high: i64, scale: Scale, step: i64) -> Codec {
    Codec::new(&parameter(Domain::Int { low, high, scale, step }))
}

fn base() -> Space {
    SpaceBuilder::new()
        .categorical("optimizer", &["adam", "sgd"], "adam")
        .log("rate", 1e-4, 1e-1, 1e-3)
        .within(0.0, 10.0)
        .log_int("hidden", 8, 256, 64)
        .within_whole(1, 4096)
        .int("layers", 1, 3, 1)
        .float("momentum", 0.5, 0.99, 0.9)
        .within(0.0, 0.9999)
        .when("momentum", "optimizer", &["sgd"])
        .boolean("bias", true)
        .ordinal("batch", &[16, 32, 64], 32)
        .within_whole(1, 1024)
        .build()
}

fn with(text: &str) -> Result<Space, thousandfold::space::SpaceError> {
    base().with_overrides(&toml::from_str(text).unwrap())
}

#[test]
fn every_integer_has_an_equal_share_on_its_scale_and_both_ends_are_reached() {
    proptest!(|(low in 1i64..50, count in 1i64..40, step in 1i64..4, is_log in any::<bool>())| {
        let scale = if is_log { Scale::Log } else { Scale::Linear };
        let step = if is_log { 1 } else { step };
        let codec = int(low, low + count * step, scale, step);
        prop_assert_eq!(codec.decode(0.0), low as f64);
        prop_assert_eq!(codec.decode(1.0), (low + count * step) as f64);
        for index in 0..=count {
            let value = (low + index * step) as f64;
            prop_assert_eq!(codec.decode(codec.encode(value)), value);
        }
        if !is_log {
            // Linear: each of the count + 1 values owns the same share of 10,000 even places.
            let mut owned = vec![0u32; count as usize + 1];
            (0..10_000).for_each(|i| owned[((codec.decode((f64::from(i) + 0.5) / 1e4) - low as f64) / step as f64) as usize] += 1);
            let share = 1e4 / (count + 1) as f64;
            prop_assert!(owned.iter().all(|n| (f64::from(*n) - share).abs() <= 1.0), "{owned:?}");
        }
    });
}

#[test]
fn log_integers_own_what_half_a_step_around_them_covers() {
    let codec = int(1, 4, Scale::Log, 1);
    let width = (4.5f64 / 0.5).ln();
    let mut place = 0.0;
    for value in 1..=4 {
        let share = ((f64::from(value) + 0.5) / (f64::from(value) - 0.5)).ln() / width;
        assert_eq!(codec.decode(place + share * 0.01), f64::from(value));
        assert_eq!(codec.decode(place + share * 0.99), f64::from(value));
        place += share;
    }
}

#[test]
fn floats_come_back_and_stay_in_range() {
    proptest!(|(low in 1e-6f64..1e-3, ratio in 2.0f64..1e6, u in 0.0f64..=1.0)| {
        let high = low * ratio;
        for scale in [Scale::Linear, Scale::Log] {
            let codec = Codec::new(&parameter(Domain::Float { low, high, scale, step: None }));
            let value = codec.decode(u);
            prop_assert!((low..=high).contains(&value));
            prop_assert!((codec.decode(codec.encode(value)) - value).abs() <= 1e-12 * value);
            prop_assert_eq!((codec.decode(0.0), codec.decode(1.0)), (low, high));
        }
        let codec = Codec::new(&parameter(Domain::Float { low: 0.01, high: 0.99, scale: Scale::Logit, step: None }));
        prop_assert!((codec.encode(codec.decode(u)) - u).abs() < 1e-12);
    });
}

#[test]
fn stepped_decimals_are_what_a_person_writes() {
    let codec = Codec::new(&parameter(Domain::Float { low: 0.1, high: 0.9, scale: Scale::Linear, step: Some(0.1) }));
    let written: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
    assert_eq!(codec.count(), Some(9));
    for (index, value) in written.into_iter().enumerate() {
        assert_eq!(codec.nth(index as u64, 9).to_bits(), value.to_bits());
        assert_eq!(codec.decode(codec.encode(value)).to_bits(), value.to_bits());
    }
    let space = with("momentum = { float = [0, 0.3], step = 0.1, default = 0.3 }").unwrap();
    assert_eq!(space.parameters[space.index("momentum").unwrap()].default, 0.3);
    proptest!(|(low in -10i32..10, step in 1i32..500, count in 1u32..50, u in 0.0f64..=1.0)| {
        let (low, step) = (f64::from(low), f64::from(step) / 1000.0);
        let high = low + step * f64::from(count);
        let codec = Codec::new(&parameter(Domain::Float { low, high, scale: Scale::Linear, step: Some(step) }));
        let value = codec.decode(u);
        prop_assert_eq!(codec.decode(codec.encode(value)).to_bits(), value.to_bits());
        prop_assert_eq!(format!("{value}").len() <= 7, true, "{}", value);
    });
}

#[test]
fn decoding_is_total() {
    for domain in [
        Domain::Bool,
        Domain::Int { low: 1, high: 9, scale: Scale::Log, step: 1 },
        Domain::Categorical(vec![Value::Int(1), Value::Int(5)]),
    ] {
        let codec = Codec::new(&parameter(domain));
        for unit in [f64::NAN, -1.0, 2.0, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(codec.decode(unit).is_finite());
        }
    }
}

#[test]
fn choices_have_equal_shares() {
    let codec = Codec::Choice { count: 3.0 };
    let counts = (0..3000).fold([0; 3], |mut counts, i| {
        counts[codec.decode((f64::from(i) + 0.5) / 3000.0) as usize] += 1;
        counts
    });
    assert_eq!(counts, [1000; 3]);
}

#[test]
fn a_written_space_reads_as_itself() {
    for text in [
        "",
        "rate = { log = [1e-3, 1e-2] }\nhidden = { int = [16, 64], step = 16 }\nbias = true",
        "optimizer = [\"sgd\", \"adam\"]\nbatch = { ordinal = [64, 128], default = 128 }\nconstraints = [\"layers * hidden <= 512\"]",
        "momentum = { float = [0.1, 0.9], step = 0.1 }",
        "optimizer = \"adam\"",
        "layers = { int = [1, 3], when = { bias = true } }\nbias = { categorical = [false, true], when = { optimizer = \"sgd\" } }",
    ] {
        let space = with(text).unwrap();
        assert_eq!(base().with_overrides(&space.to_toml()).unwrap(), space, "{text}");
    }
    for model in MODELS {
        for task in model.tasks() {
            let shape = DataShape {
                task: *task,
                rows: 500,
                features: 20,
                outputs: if *task == Task::Regression { 1 } else { 3 },
            };
            let space = model.space(shape);
            assert_eq!(space.clone().with_overrides(&space.to_toml()).unwrap(), space, "{}", model.name());
        }
    }
}

#[test]
fn conditions_follow_their_parents_values_and_their_order() {
    let space = with("optimizer = [\"sgd\", \"adam\"]").unwrap();
    let mut row = space.defaults();
    assert_eq!(space.text(&row, "optimizer").unwrap(), "adam", "the default stays the same choice at another index");
    assert!(space.number(&row, "momentum").is_none());
    row[space.index("optimizer").unwrap()] = 0.0;
    row[space.index("momentum").unwrap()] = 0.7;
    space.clone().mask(&mut row);
    assert_eq!(space.number(&row, "momentum"), Some(0.7));
    let nested = with("layers = { int = [1, 3], when = { bias = true } }\nbias = { categorical = [false, true], when = { optimizer = \"sgd\" } }").unwrap();
    assert!(nested.index("optimizer") < nested.index("bias") && nested.index("bias") < nested.index("layers"));
    assert!(nested.number(&nested.defaults(), "layers").is_none(), "the grandparent is adam");
}

#[test]
fn constraints_are_evaluated_and_hold_where_a_parameter_is_absent() {
    let holds = |text: &str, set: &[(&str, f64)]| {
        let space = with(&format!("constraints = ['{text}']")).unwrap();
        let mut row = space.defaults();
        set.iter().for_each(|(name, value)| row[space.index(name).unwrap()] = *value);
        space.is_allowed(&row)
    };
    assert!(holds("layers * hidden <= 64", &[]));
    assert!(!holds("layers * hidden <= 64", &[("layers", 2.0)]));
    assert!(holds("(layers + 1) * 2 == 4 and not hidden < 10 or rate > 1e3", &[]));
    assert!(holds("momentum > 5", &[]), "momentum does not exist under adam");
    assert!(!holds("momentum > 5 and layers == 2", &[]));
    assert!(holds("optimizer == \"adam\"", &[]));
    assert!(!holds("optimizer != \"adam\"", &[]));
    assert!(holds("-layers + 2 - 1 == 0", &[]));
    assert!(holds("batch / 2 == 16", &[]));
    assert!(holds("bias == true and bias and not bias == false", &[]));
    assert!(!holds("bias", &[("bias", 0.0)]));
    // What is not known stays not known, whatever is made of it.
    assert!(holds("not momentum > 5", &[]) && holds("not (momentum > 5 and layers == 1)", &[]));
    assert!(holds("not (layers == 1 and momentum > 5)", &[]));
    assert!(holds("momentum > 5 or layers == 2", &[]));
    assert!(
        holds("hidden / (layers - 1) > 0", &[]) && !holds("0 / (layers - 1) == 0", &[]),
        "1/0 is large, 0/0 nothing"
    );
}

#[test]
fn constraints_keep_their_meaning_where_choices_are_held() {
    let holds = |text: &str, constraint: &str| {
        let space = with(&format!("{text}\nconstraints = ['{constraint}']")).unwrap();
        space.is_allowed(&space.defaults())
    };
    assert!(holds("optimizer = 'adam'", "optimizer == \"adam\" and optimizer != \"sgd\""));
    assert!(!holds("optimizer = 'adam'", "\"sgd\" == optimizer"));
    assert!(holds("optimizer = ['sgd']", "optimizer == \"sgd\" and momentum < 1"));
    assert!(holds("bias = false", "not bias") && holds("bias = true", "bias"));
    assert!(holds("bias = [false]", "not bias") && holds("bias = [true]", "bias"));
    assert!(holds("hidden = 32", "hidden == 32") && holds("batch = [8, 64]", "batch >= 8"));
}

fn conditional() -> Space {
    SpaceBuilder::new()
        .categorical("kind", &["a", "b", "c"], "a")
        .log_int("width", 1, 6, 2)
        .when("width", "kind", &["a", "b"])
        .int("depth", 1, 3, 1)
        .boolean("flag", false)
        .when("flag", "kind", &["b"])
        .build()
}

#[test]
fn densities_of_all_points_sum_to_one() {
    // Every row of codes, absent ones too: what cannot be drawn must add nothing.
    let codes = |values: std::ops::Range<i32>| values.map(f64::from).chain([f64::NAN, 0.5]).collect::<Vec<_>>();
    let space = conditional();
    let mut sum = 0.0;
    for kind in codes(0..4) {
        for width in codes(0..8) {
            for depth in codes(0..5) {
                for flag in codes(0..3) {
                    sum += space.log_density(&[kind, width, depth, flag]).exp();
                }
            }
        }
    }
    assert!((sum - 1.0).abs() < 1e-12, "{sum}");
}

#[test]
fn densities_of_a_continuum_integrate_to_one() {
    let builder = |scale: Scale| match scale {
        Scale::Linear => SpaceBuilder::new().float("p", 0.1, 0.7, 0.5),
        Scale::Log => SpaceBuilder::new().log("p", 0.1, 0.7, 0.5),
        Scale::Logit => SpaceBuilder::new().logit("p", 0.1, 0.7, 0.5),
    };
    for scale in [Scale::Linear, Scale::Log, Scale::Logit] {
        let space = builder(scale).build();
        let (n, width) = (10_000, 0.6);
        let density = |i: i32| space.log_density(&[0.1 + width * (f64::from(i) + 0.5) / f64::from(n)]).exp();
        let integral = (0..n).map(density).sum::<f64>() * width / f64::from(n);
        // The midpoint rule's error is of the order of n^-2.
        assert!((integral - 1.0).abs() < 1e-6, "{scale:?}: {integral}");
        assert_eq!(space.log_density(&[0.71]), f64::NEG_INFINITY);
    }
}

#[test]
fn distance_is_a_metric_between_0_and_1() {
    let space = conditional();
    let codecs = space.codecs();
    let point = |units: [f64; 4]| {
        let mut row: Vec<f64> = codecs.iter().zip(units).map(|(codec, unit)| codec.decode(unit)).collect();
        space.mask(&mut row);
        row
    };
    let unit = || prop::array::uniform4(0.0f64..=1.0);
    proptest!(|(a in unit(), b in unit(), c in unit())| {
        let (a, b, c) = (point(a), point(b), point(c));
        let d = |a: &[f64], b: &[f64]| space.distance(a, b);
        prop_assert_eq!(d(&a, &a), 0.0);
        prop_assert_eq!(d(&a, &b), d(&b, &a));
        prop_assert!((0.0..=1.0).contains(&d(&a, &b)));
        prop_assert!(d(&a, &c) <= d(&a, &b) + d(&b, &c) + 1e-12);
    });
    let absent = f64::NAN;
    let far = space.distance(&[0.0, 1.0, 1.0, absent], &[2.0, absent, 3.0, absent]);
    assert!(
        (far - (3.0f64 / 4.0).sqrt()).abs() < 1e-15,
        "kind, width and depth are 1 apart, flag is in neither: {far}"
    );
}

#[test]
fn any_text_is_a_constraint_or_an_error() {
    let space = base();
    let words = "layers hidden optimizer bias and or not ( ) + - * / < <= == != 3 1e5 'adam' true é";
    let words: Vec<&str> = words.split(' ').collect();
    proptest!(|(picks in prop::collection::vec(0..words.len(), 0..40), noise in "\\PC{0,30}")| {
        let text = picks.iter().map(|pick| words[*pick]).collect::<Vec<_>>().join(" ");
        for text in [text, noise] {
            if let Ok(constraint) = Constraint::parse(&text, &space) {
                constraint.holds(&space.defaults());
            }
        }
    });
    for deep in ["(", "-", "not "] {
        assert!(Constraint::parse(&format!("{}bias", deep.repeat(2000)), &space).is_err());
    }
    let long = Constraint::parse(&format!("layers{} > 0", " + 1".repeat(1000)), &space).unwrap();
    assert!(long.holds(&space.defaults()));
    assert!(Constraint::parse(&"1 + ".repeat(5000), &space).is_err());
}

#[test]
fn what_makes_no_sense_says_why() {
    let wrong = [
        "learning_rat = 3",
        "hiden = 3",
        "rate = { log = [1e-1, 1e-4] }",
        "rate = { log = [0.1, 0.1] }",
        "rate = { log = [0, 1] }",
        "rate = { logit = [0.5, 1.0] }",
        "rate = { float = [0, 1], step = 3 }",
        "rate = { float = [0, 1], step = 0.3 }",
        "hidden = { int = [8, 100], step = 16 }",
        "rate = { log = [0.1, 1], step = 0.1 }",
        "rate = { flaot = [0, 1] }",
        "rate = { float = [0, 1, 2] }",
        "rate = 100.0",
        "hidden = { int = [0, 20] }",
        "hidden = { float = [8, 20] }",
        "layers = { int = [1, 3], default = 9 }",
        "optimizer = []",
        "optimizer = [\"adam\", \"adam\"]",
        "optimizer = \"lbfgs\"",
        "momentum = { float = [0.1, 0.2], when = { optimiser = \"sgd\" } }",
        "momentum = { float = [0.1, 0.2], when = { optimizer = \"lbfgs\" } }",
        "layers = { int = [1, 3], when = { bias = true } }\nbias = { categorical = [false, true], when = { layers = 2 } }",
        "momentum = { float = [0.1, 0.2], when = { optimizer = [] } }",
        "momentum = { float = [0.1, 0.2], when = {} }",
        "batch = { ordinal = [1, 1.0] }",
        "constraints = [\"layers * hiden <= 3\"]",
        "constraints = [\"layers * <= 3\"]",
        "constraints = [\"(layers\"]",
        "constraints = [\"layers * hidden\"]",
        "constraints = [\"1 < layers < 3\"]",
        "constraints = [\"optimizer == 'adm'\"]",
        "constraints = [\"optimizer < 3\"]",
        "constraints = [\"layers + 'adam' > 3\"]",
        "constraints = [\"not layers\"]",
        "constraints = [\"layers > 1 layers\"]",
        "constraints = [\"layers > 1e\"]",
        "constraints = [\"\"]",
        "constraints = \"layers < 2\"",
    ];
    let messages = wrong.map(|text| format!("{text}\nerror: {}\n", with(text).expect_err(text)));
    insta::assert_snapshot!(messages.join("\n"));
}
