//! What Thousandfold promises, a module a topic. One binary, so that the whole suite links once.

#[path = "../reference/mod.rs"]
mod reference;
mod support;

mod backends;
mod bench;
mod cli;
mod configs;
mod data;
mod docs;
mod elastic_net;
mod errors;
mod explain;
mod export;
mod forest;
mod forest_fixtures;
mod forest_gpu;
mod gbdt;
mod gpu;
mod kernel_ridge;
mod kernels;
mod knn;
mod linear;
mod logistic;
mod logistic_gpu;
mod logistic_penalties;
mod logistic_penalties_gpu;
mod loops;
mod metrics;
mod mlp;
mod model_file;
mod naive_bayes;
mod onnxruntime;
mod pipelines;
mod preparation;
mod prologue;
mod proposals;
mod resume;
mod ridge;
mod rounds;
mod shaders;
mod shared_work;
mod space;
mod splits;
mod study;
mod svm;
