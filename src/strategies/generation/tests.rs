//! What every method promises.

use super::testing::course;
use super::*;
use crate::backend::cpu::double::Doubles;
use crate::backend::cpu::simd::{self, Lanes, Level};
use crate::backend::gpu::{Gpu, GpuOptions, Kernel};
use crate::base::hash::Hasher;
use crate::base::random::Key;
use crate::data::metrics::Direction;
use crate::functions;
use crate::space::SpaceBuilder;
use crate::strategies::STRATEGIES;

fn methods() -> Vec<(&'static str, &'static dyn GenerationMethod)> {
    STRATEGIES.iter().filter_map(|entry| Some((entry.name(), entry.generations()?))).collect()
}

fn advance(course: &mut dyn Course, generations: u64) {
    course.advance(generations).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn six_strategies_have_whole_generations() {
    let names: Vec<&str> = methods().iter().map(|method| method.0).collect();
    assert_eq!(names, ["random", "cmaes", "de", "pso", "pso_ring", "genetic"]);
}

#[test]
fn threads_width_and_interruptions_do_not_matter() {
    for (name, method) in methods() {
        // Of the second function sixteen points are evaluated at a time.
        for (function, dimensions) in [("rastrigin", 7), ("rastrigin", 120), ("sphere", 7), ("sphere", 120)] {
            let begin = || course(method, function, dimensions, 150, 5);
            let mut whole = begin();
            advance(&mut whole, 12);
            let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap_or_else(|error| panic!("{error}"));
            let mut first = begin().with_level(Level::Plain);
            one.install(|| advance(&mut first, 5));
            let mut second = begin();
            assert!(second.restore(&first.state()));
            advance(&mut second, 7);
            assert!(second.state() == whole.state(), "{name}, {function} in {dimensions}");
            assert_eq!(second.best(3), whole.best(3));
            assert_eq!((second.generation(), second.evaluated()), (12, 12 * 150));
            assert!(!second.restore(&[1, 2, 3]));
            let mut other = course(method, function, dimensions, 150, 6);
            assert!(!other.restore(&whole.state()), "of another key");
        }
    }
}

#[test]
fn members_evaluated_sixteen_at_a_time_take_the_course_of_those_evaluated_alone() {
    for (name, method) in methods() {
        let Ok(function) = functions::find("rosenbrock") else { panic!("there is no such function") };
        let begin = |lanes| {
            let opened = function.open(20, 1);
            let value = move |point: &[f64]| {
                let mut value = [0.0];
                opened.evaluate(point, &mut value);
                value[0]
            };
            let objective = Objective { value: Box::new(value), lanes, offset: 0.0 };
            let (space, key) = (function.space(20), Key::from_seed(1));
            let course = CpuCourse::new(method, &space, 150, key, Direction::Minimize, objective);
            course.unwrap_or_else(|refusal| panic!("{refusal}"))
        };
        assert!(function.lanes().is_some());
        let [mut alone, mut together] = [begin(None), begin(function.lanes())];
        advance(&mut alone, 6);
        advance(&mut together, 6);
        assert!(alone.state() == together.state(), "{name}");
    }
}

#[test]
fn smooth_optima_are_found_nearer_than_by_chance() {
    let best = |method, seed| {
        let mut course = course(method, "sphere", 10, 40, seed);
        advance(&mut course, 50);
        course.best(1)[0].0
    };
    let median = |method: &'static dyn GenerationMethod| {
        let mut bests: Vec<f64> = (0..5).map(|seed| best(method, seed)).collect();
        bests.sort_by(f64::total_cmp);
        bests[2]
    };
    let chance = median(&RANDOM);
    for (name, method) in methods().into_iter().filter(|method| method.0 != "random") {
        let found = median(method);
        assert!(found < 0.25 * chance, "{name}: {found} {chance}");
    }
}

fn objective(value: impl Fn(&[f64]) -> f64 + Send + Sync + 'static) -> Objective {
    Objective { value: Box::new(value), lanes: None, offset: 0.0 }
}

/// Numbers on every scale, with one value among them that is no axis.
fn numbers() -> crate::space::Space {
    SpaceBuilder::new()
        .log("rate", 1e-4, 10.0, 0.1)
        .categorical("held", &["so"], "so")
        .logit("share", 0.01, 0.99, 0.5)
        .int("depth", 1, 9, 3)
        .float("x", -2.0, 2.0, 1.0)
        .build()
}

#[test]
fn failures_are_survived_and_the_greatest_value_can_be_wanted() {
    for (name, method) in methods() {
        let value = |point: &[f64]| {
            let far =
                libm::log(point[0] / 0.01).abs() + (point[2] - 0.8).abs() + (point[3] - 7.0).abs() + point[4].abs();
            if point[4] > 0.7 { f64::NAN } else { 100.0 - far }
        };
        let space = numbers();
        let course = CpuCourse::new(method, &space, 30, Key::from_seed(2), Direction::Maximize, objective(value));
        let mut course = course.unwrap_or_else(|refusal| panic!("{refusal}"));
        assert!(course.best(3).is_empty());
        advance(&mut course, 60);
        let best = course.best(1000);
        assert!((4..=31).contains(&best.len()), "{name}");
        assert!(best[0].0 > 98.0, "{name}: {best:?}");
        for (found, point) in &best {
            assert!(space.log_density(point) > f64::NEG_INFINITY, "{name}: {point:?}");
            assert!((found - value(point)).abs() < 1e-4, "{name}: {found} is not {}", value(point));
            assert!(best[0].0 >= *found);
        }
    }
}

#[test]
fn nothing_but_failures_is_survived() {
    for (name, method) in methods() {
        let objective = objective(|_| f64::NAN);
        let course = CpuCourse::new(method, &numbers(), 12, Key::from_seed(2), Direction::Minimize, objective);
        let mut course = course.unwrap_or_else(|refusal| panic!("{refusal}"));
        advance(&mut course, 8);
        assert!(course.best(1).is_empty(), "{name}");
    }
}

#[test]
fn spaces_with_more_than_numbers_are_refused() {
    let choices = SpaceBuilder::new().categorical("kind", &["a", "b"], "a").float("x", 0.0, 1.0, 0.5);
    let condition = SpaceBuilder::new().boolean("flag", true).int("n", 1, 3, 2).when("n", "flag", &["true"]);
    let held = SpaceBuilder::new().categorical("held", &["so"], "so");
    assert!(refusal(&numbers()).is_none());
    for (space, word) in [(choices.build(), "\"kind\""), (condition.build(), "\"n\""), (held.build(), "one value")] {
        let refusal = refusal(&space).unwrap_or_default();
        assert!(refusal.contains(word), "{refusal}");
    }
}

/// Points of sixteen rows: each alone, and all at a time.
struct Decode<'a>(&'a axes::Linear, [&'a [Lanes]; 16]);

impl simd::Kernel for Decode<'_> {
    type Output = [Vec<Vec<f64>>; 2];
    #[inline(always)]
    fn run<V: simd::Simd>(self) -> Self::Output {
        let Decode(linear, rows) = self;
        let axes = 16 * rows[0].len();
        let alone = |row: &&[Lanes]| {
            let mut point = vec![0.0; axes];
            linear.decode::<V>(row, &mut point);
            point
        };
        let mut points = vec![Doubles::splat(0.0); axes];
        linear.decode_sixteen::<V>(&rows, &mut points);
        let together = |row: usize| points.iter().map(|axis| axis.0[row]).collect();
        [rows.iter().map(alone).collect(), (0..16).map(together).collect()]
    }
}

#[test]
fn places_become_the_points_that_candidates_have() {
    let bounds = |i: i32| (-f64::from(i + 1) / 7.0, f64::from(i * i + 1) / 11.0);
    let space =
        (0..19).fold(SpaceBuilder::new(), |space, i| space.float(&format!("x{i}"), bounds(i).0, bounds(i).1, 0.0));
    // Some of them would round to just below their upper bound.
    assert!((0..19).map(bounds).any(|(low, high)| low + (high - low) < high));
    for space in [space.build(), numbers()] {
        let axes = Axes::new(&space).unwrap_or_else(|refusal| panic!("{refusal}"));
        let cube = crate::strategies::cube::Cube::new(std::sync::Arc::new(space));
        let place = |step: i32| [Lanes([step as f32 / 64.0; 16]); 2];
        let expected = |step: i32| cube.decode(&vec![f64::from(step) / 64.0; axes.count()]);
        let mut point = axes.template().to_vec();
        for step in 0..=64 {
            axes.decode(&place(step), &mut point);
            assert_eq!(point, expected(step));
        }
        let Some(linear) = axes.linear() else { continue };
        for first in (0..=64).step_by(16) {
            let places: [[Lanes; 2]; 16] = std::array::from_fn(|row| place(64.min(first + row as i32)));
            for level in Level::available() {
                let rows = std::array::from_fn(|row| &places[row][..]);
                for points in simd::dispatch(level, Decode(linear, rows)) {
                    for (row, point) in (first..).zip(points) {
                        assert_eq!(point[..axes.count()], expected(64.min(row)), "on {}", level.name());
                    }
                }
            }
        }
    }
    assert!(Axes::new(&numbers()).is_ok_and(|axes| axes.linear().is_none()));
}

/// The first adapter; `None`, with the reason on the screen, where there is none and none is required.
fn gpu() -> Option<Gpu> {
    match Gpu::open(&GpuOptions { device: Some("0".to_owned()), ..GpuOptions::default() }) {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            assert!(std::env::var_os("REQUIRE_GPU").is_none(), "REQUIRE_GPU is set, and {error}");
            println!("SKIPPED: {error}");
            None
        }
    }
}

fn on_device(
    gpu: &Gpu,
    method: &'static dyn GenerationMethod,
    function: &str,
    dimensions: usize,
    members: usize,
    seed: u64,
) -> DeviceCourse {
    let Ok(function) = functions::find(function) else { panic!("there is no {function}") };
    let Some(shader) = function.shader(dimensions, 1) else { panic!("it has no shader") };
    let define = |kernel| shader.define(kernel);
    let objective = DeviceObjective::new(&shader, &define);
    let (space, key) = (function.space(dimensions), Key::from_seed(seed));
    DeviceCourse::new(method, &space, members, key, Direction::Minimize, gpu, &objective)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The greatest difference of two states' numbers, as a share of those above 1; infinite where counters or failures differ.
fn difference(a: &[u32], b: &[u32]) -> f32 {
    if a.len() != b.len() || a[0] != b[0] {
        return f32::INFINITY;
    }
    // Counters of the head are next to nothing as numbers, and the key is the same.
    let pairs = a.iter().zip(b).skip(1).map(|(a, b)| (f32::from_bits(*a), f32::from_bits(*b)));
    pairs.fold(0.0, |most, (a, b)| match (a.is_nan(), b.is_nan()) {
        (true, true) => most,
        (false, false) => most.max((a - b).abs() / a.abs().max(1.0)),
        _ => f32::INFINITY,
    })
}

#[test]
fn a_device_takes_the_course_of_the_processor() {
    let Some(gpu) = gpu() else { return };
    for (name, method) in methods() {
        let cases = [("sphere", 5), ("rastrigin", 20), ("sphere", 110), ("bbob_f10", 6)];
        for (function, dimensions) in cases {
            let mut host = course(method, function, dimensions, 70, 8);
            let mut device = on_device(&gpu, method, function, dimensions, 70, 8);
            for (generations, tolerance) in [(1, 2e-6), (9, 2e-4)] {
                advance(&mut host, generations);
                advance(&mut device, generations);
                // Values are sums of f32 there and of f64 here; what is added up in f32 is added up alike.
                let found = difference(&host.state(), &device.state());
                assert!(found < tolerance, "{name}, {function} in {dimensions}: {found:e} after {}", host.generation());
                assert_eq!(device.evaluated(), host.evaluated());
            }
            // From the processor to the device and on.
            let mut other = on_device(&gpu, method, function, dimensions, 70, 8);
            assert!(other.restore(&host.state()));
            advance(&mut other, 3);
            advance(&mut host, 3);
            let found = difference(&host.state(), &other.state());
            assert!(found < 2e-4, "{name}, {function} in {dimensions}: {found:e} after it was moved");
            // Another seed is another course: the comparison can fail.
            let mut wrong = course(method, function, dimensions, 70, 9);
            advance(&mut wrong, 13);
            assert!(difference(&wrong.state(), &other.state()) > 1e-2);
        }
    }
}

#[test]
fn a_device_decodes_every_scale_and_can_want_the_greatest() {
    const SUM: &str = "fn evaluate(member: u32) { var sum = 0.0; \
                       for (var axis = 0u; axis < 4u; axis += 1u) { sum += coordinate(member, axis); } \
                       set_value(member, 0u, sum); }\n";
    let Some(gpu) = gpu() else { return };
    let space = SpaceBuilder::new()
        .log("rate", 1e-4, 10.0, 0.1)
        .logit("share", 0.01, 0.99, 0.5)
        .int("depth", 1, 9, 3)
        .float("x", -2.0, 2.0, 1.0)
        .build();
    let define = |mut kernel: Kernel| {
        kernel.sources.push(SUM);
        kernel
    };
    for (name, method) in methods() {
        let (key, greatest) = (Key::from_seed(3), Direction::Maximize);
        let sums = DeviceObjective { define: &define, constants: vec![0.0], scratch: 1, offset: 0.0 };
        let device = DeviceCourse::new(method, &space, 40, key, greatest, &gpu, &sums);
        let mut device = device.unwrap_or_else(|error| panic!("{error}"));
        let sums = objective(|point| point.iter().sum());
        let host = CpuCourse::new(method, &space, 40, key, greatest, sums);
        let mut host = host.unwrap_or_else(|error| panic!("{error}"));
        advance(&mut device, 3);
        advance(&mut host, 3);
        // Exponentials on the device are within some 1e-6.
        let found = difference(&host.state(), &device.state());
        assert!(found < 1e-4, "{name}: {found:e}");
        assert!(host.best(1)[0].0 > 10.0, "{name} wants the greatest sum: {:?}", host.best(1));
    }
}

#[test]
fn a_device_ranks_as_many_members_as_fill_several_tiles_and_equal_ones_by_their_numbers() {
    const SUM: &str =
        "fn evaluate(member: u32) { set_value(member, 0u, coordinate(member, 0u) + coordinate(member, 1u)); }\n";
    let Some(gpu) = gpu() else { return };
    // Sums of whole numbers are the same everywhere, and many are equal.
    let space = SpaceBuilder::new().int("a", 0, 30, 7).int("b", 0, 30, 7).build();
    let define = |mut kernel: Kernel| {
        kernel.sources.push(SUM);
        kernel
    };
    for (name, method) in methods() {
        let (key, least) = (Key::from_seed(3), Direction::Minimize);
        let sums = DeviceObjective { define: &define, constants: vec![0.0], scratch: 1, offset: 0.0 };
        let device = DeviceCourse::new(method, &space, 2500, key, least, &gpu, &sums);
        let mut device = device.unwrap_or_else(|error| panic!("{error}"));
        let host = CpuCourse::new(method, &space, 2500, key, least, objective(|point| point.iter().sum()));
        let mut host = host.unwrap_or_else(|error| panic!("{error}"));
        advance(&mut device, 3);
        advance(&mut host, 3);
        let found = difference(&host.state(), &device.state());
        assert!(found < 1e-5, "{name}: {found:e}");
    }
}

#[test]
fn a_device_begins_a_run_anew_where_the_processor_does() {
    const NOTHING: &str =
        "fn evaluate(member: u32) { set_value(member, 0u, bitcast<f32>(0x7fc00000u | (member & 1u))); }\n";
    const SIGMA: usize = state::head::OWN;
    const BEGAN: usize = SIGMA + 1;
    let Some(gpu) = gpu() else { return };
    for dimensions in [5, 110] {
        let mut host = course(&CMAES, "sphere", dimensions, 70, 8);
        advance(&mut host, 3);
        assert_eq!(host.state()[BEGAN], 0);
        // A Gaussian that has become a point.
        let mut words = host.state();
        words[SIGMA] = 1e-12f32.to_bits();
        let mut device = on_device(&gpu, &CMAES, "sphere", dimensions, 70, 8);
        assert!(host.restore(&words) && device.restore(&words));
        advance(&mut host, 1);
        advance(&mut device, 1);
        let (host_words, device_words) = (host.state(), device.state());
        assert_eq!((host_words[BEGAN], device_words[BEGAN]), (4, 4), "in {dimensions}");
        assert_eq!(host_words[SIGMA], device_words[SIGMA]);
        // Nothing but the members' values is rounded otherwise; the mean that was drawn is the same.
        let found = difference(&host_words, &device_words);
        assert!(found < 2e-6, "in {dimensions}: {found:e}");
        advance(&mut host, 3);
        advance(&mut device, 3);
        let found = difference(&host.state(), &device.state());
        assert!(found < 2e-4, "in {dimensions}, three generations later: {found:e}");
        // Every member failed.
        let define = |mut kernel: Kernel| {
            kernel.sources.push(NOTHING);
            kernel
        };
        let Ok(function) = functions::find("sphere") else { panic!("there is no sphere") };
        let (space, key) = (function.space(dimensions), Key::from_seed(2));
        let nothing = DeviceObjective { define: &define, constants: vec![0.0], scratch: 1, offset: 0.0 };
        let device = DeviceCourse::new(&CMAES, &space, 70, key, Direction::Minimize, &gpu, &nothing);
        let mut device = device.unwrap_or_else(|error| panic!("{error}"));
        let host = CpuCourse::new(&CMAES, &space, 70, key, Direction::Minimize, objective(|_| f64::NAN));
        let mut host = host.unwrap_or_else(|error| panic!("{error}"));
        advance(&mut host, 2);
        advance(&mut device, 2);
        assert_eq!((host.state()[BEGAN], device.state()[BEGAN]), (2, 2));
        let found = difference(&host.state(), &device.state());
        assert!(found < 2e-6, "all failed in {dimensions}: {found:e}");
    }
}

#[test]
fn a_device_goes_on_from_where_it_was() {
    let Some(gpu) = gpu() else { return };
    for (name, method) in methods() {
        let begin = || on_device(&gpu, method, "rastrigin", 6, 33, 4);
        let (mut whole, mut first, mut second) = (begin(), begin(), begin());
        advance(&mut whole, 30);
        advance(&mut first, 12);
        assert!(second.restore(&first.state()));
        advance(&mut second, 18);
        assert!(second.state() == whole.state(), "{name}");
        assert_eq!(second.best(2), whole.best(2));
    }
}

#[test]
fn courses_are_pinned() {
    let pin = |method: (&'static str, &'static dyn GenerationMethod)| {
        let mut hash = Hasher::default();
        for dimensions in [6, 103] {
            let mut course = course(method.1, "sphere", dimensions, 40, 12);
            advance(&mut course, 8);
            course.state().into_iter().for_each(|word| hash.word(u64::from(word)));
        }
        (method.0, hash.finish())
    };
    let found: Vec<(&str, u64)> = methods().into_iter().map(pin).collect();
    let pinned = [
        ("random", 1_467_526_752_729_498_180),
        ("cmaes", 2_483_198_184_240_118_582),
        ("de", 1_714_791_479_265_509_196),
        ("pso", 6_848_220_577_970_309_770),
        ("pso_ring", 16_607_351_642_334_632_925),
        ("genetic", 11_677_756_043_523_560_402),
    ];
    assert_eq!(found, pinned);
}
