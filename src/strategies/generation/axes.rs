//! The axes of a space of numbers, and the way from a place in the unit cube to a point.

use super::state::WIDTH;
use crate::backend::cpu::simd::Lanes;
use crate::space::{Codec, Scale, Space};

/// How a row of places becomes a point.
#[derive(Debug, Clone)]
pub struct Axes {
    /// The parameter of each axis.
    columns: Vec<usize>,
    codecs: Vec<Codec>,
    /// A point with the values of parameters that have one value.
    template: Vec<f64>,
    /// Where every parameter is an axis that runs evenly from bound to bound.
    linear: Option<Linear>,
}

/// `low + place * length`, for whole chunks of axes.
#[derive(Debug, Clone)]
struct Linear {
    low: Vec<f64>,
    length: Vec<f64>,
    high: Vec<f64>,
}

impl Axes {
    /// Of a space without conditions, constraints and choices; else why not.
    pub fn new(space: &Space) -> Result<Axes, String> {
        const REMEDY: &str = "with [run] history = \"all\" every strategy searches it";
        if !space.constraints.is_empty() {
            return Err(format!("whole generations search no space with constraints; {REMEDY}"));
        }
        if let Some(parameter) = space.parameters.iter().find(|parameter| !parameter.conditions.is_empty()) {
            let name = &parameter.name;
            return Err(format!(
                "whole generations search no parameter with a condition, such as \"{name}\"; {REMEDY}"
            ));
        }
        let all = space.codecs();
        let template: Vec<f64> = all.iter().map(|codec| codec.decode(0.5)).collect();
        let columns: Vec<usize> = (0..all.len()).filter(|column| all[*column].count() != Some(1)).collect();
        let codecs: Vec<Codec> = columns.iter().map(|column| all[*column]).collect();
        if let Some(place) = codecs.iter().position(|codec| matches!(codec, Codec::Choice { .. })) {
            let name = &space.parameters[columns[place]].name;
            return Err(format!("whole generations search no choices, such as \"{name}\"; {REMEDY}"));
        }
        if columns.is_empty() {
            return Err("there is nothing to search: every parameter has one value".to_owned());
        }
        let linear = Linear::new(&codecs).filter(|_| columns.len() == template.len());
        Ok(Axes { columns, codecs, template, linear })
    }

    /// Number of axes.
    pub fn count(&self) -> usize {
        self.columns.len()
    }

    /// Parameters of a point.
    pub fn parameters(&self) -> usize {
        self.template.len()
    }

    /// Each axis's codec.
    pub fn codecs(&self) -> &[Codec] {
        &self.codecs
    }

    /// Each axis's parameter.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// A point's values at first.
    pub fn template(&self) -> &[f64] {
        &self.template
    }

    /// The place of a point.
    pub fn encode(&self, point: &[f64], place: &mut [Lanes]) {
        for (axis, (column, codec)) in self.columns.iter().zip(&self.codecs).enumerate() {
            place[axis / WIDTH].0[axis % WIDTH] = codec.encode(point[*column]) as f32;
        }
    }

    /// The point at a place; `point` has room for whole chunks of axes or for the parameters, whichever are more, and begins
    /// with the [`Axes::template`].
    #[inline(always)]
    pub fn decode(&self, place: &[Lanes], point: &mut [f64]) {
        if let Some(linear) = &self.linear {
            linear.decode(place, point);
            return;
        }
        for (axis, (column, codec)) in self.columns.iter().zip(&self.codecs).enumerate() {
            point[*column] = codec.decode(f64::from(place[axis / WIDTH].0[axis % WIDTH]));
        }
    }

    /// Room that [`Axes::decode`] needs.
    pub fn room(&self) -> usize {
        self.template.len().max(self.count().next_multiple_of(WIDTH))
    }
}

impl Linear {
    fn new(codecs: &[Codec]) -> Option<Linear> {
        let bounds = |codec: &Codec| match *codec {
            Codec::Continuous { scale: Scale::Linear, length, low, high, .. } => Some([low, length, high]),
            _ => None,
        };
        let bounds: Vec<[f64; 3]> = codecs.iter().map(bounds).collect::<Option<_>>()?;
        let padded = |which: usize| {
            let mut all: Vec<f64> = bounds.iter().map(|bounds| bounds[which]).collect();
            all.resize(all.len().next_multiple_of(WIDTH), 0.0);
            all
        };
        Some(Linear { low: padded(0), length: padded(1), high: padded(2) })
    }

    /// [`Codec::decode`] to the bit: both ends are met, and nothing lies outside.
    #[inline(always)]
    fn decode(&self, place: &[Lanes], point: &mut [f64]) {
        let bounds =
            self.low.chunks_exact(WIDTH).zip(self.length.chunks_exact(WIDTH)).zip(self.high.chunks_exact(WIDTH));
        for ((lanes, point), ((low, length), high)) in place.iter().zip(point.chunks_exact_mut(WIDTH)).zip(bounds) {
            for i in 0..WIDTH {
                let place = f64::from(lanes.0[i]);
                let value = low[i] + place * length[i];
                let value = if value < low[i] { low[i] } else { value };
                let value = if value > high[i] { high[i] } else { value };
                point[i] = if place == 1.0 { high[i] } else { value };
            }
        }
    }
}
