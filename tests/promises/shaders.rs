//! Every shader translates for every platform, so that a Mac or Windows user is not the first to try it.

use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use std::path::Path;
use thousandfold::backend::gpu::{Kernel, measure_kernels};
use thousandfold::functions::FUNCTIONS;
use thousandfold::models::MODELS;
use thousandfold::strategies::generation::device_kernels;
use thousandfold::study::StudyConfig;
use thousandfold::study::objective::Objective;
use thousandfold::study::resolve::Study;

fn kernels() -> Vec<Kernel> {
    // A function's size is a constant of its kernel and changes nothing else.
    let functions = FUNCTIONS.iter().filter_map(|function| function.shader(function.default_dimensions(), 1));
    let functions = functions.map(|shader| shader.kernel());
    let models = MODELS.iter().flat_map(|model| model.kernels());
    models.chain([users()]).chain(functions).chain(device_kernels()).chain(measure_kernels()).collect()
}

/// The kernel of the ready study with a user's shader.
fn users() -> Kernel {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/wgsl_objective.toml");
    let study = Study::resolve(StudyConfig::load(&path, &[]).unwrap()).unwrap();
    let Objective::Wgsl(wgsl) = &study.objective else { panic!("it is a shader") };
    wgsl.kernel()
}

#[test]
fn every_kernel_becomes_spirv_msl_and_hlsl() {
    for kernel in kernels() {
        let source = kernel.wgsl();
        let module = naga::front::wgsl::parse_str(&source)
            .unwrap_or_else(|error| panic!("{}: {}", kernel.name, error.emit_to_string(&source)));
        let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
            .validate(&module)
            .unwrap_or_else(|error| panic!("{}: {}", kernel.name, error.emit_to_string(&source)));
        let words = spv::write_vec(&module, &info, &spv::Options::default(), None)
            .unwrap_or_else(|error| panic!("{}, SPIR-V: {error}", kernel.name));
        assert!(words.len() > 100);
        let options = msl::Options { fake_missing_bindings: true, ..msl::Options::default() };
        let (text, _) = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
            .unwrap_or_else(|error| panic!("{}, MSL: {error}", kernel.name));
        assert!(text.contains(kernel.entry));
        let mut text = String::new();
        let options = hlsl::Options { fake_missing_bindings: true, ..hlsl::Options::default() };
        hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
            .write(&module, &info, None)
            .unwrap_or_else(|error| panic!("{}, HLSL: {error}", kernel.name));
        assert!(text.contains(kernel.entry));
    }
}

#[test]
fn workgroup_memory_fits_the_smallest_devices() {
    for kernel in kernels() {
        let module = naga::front::wgsl::parse_str(&kernel.wgsl()).unwrap();
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let bytes: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup)
            .map(|(_, variable)| layouter[variable.ty].size)
            .sum();
        assert!(bytes <= 16 << 10, "{}: {bytes} bytes", kernel.name);
    }
}

/// A shader file that no kernel uses is one that no test translates.
#[test]
fn every_shader_file_belongs_to_a_kernel() {
    fn files(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => files(&path, found),
                false => found.push(std::fs::read_to_string(path).unwrap()),
            }
        }
    }
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders"), &mut found);
    assert!(found.len() >= 5);
    let used: Vec<Kernel> = kernels();
    for text in found {
        assert!(used.iter().any(|kernel| kernel.sources.contains(&&*text)), "{}", text.lines().next().unwrap_or(""));
    }
}
