//! The axes of a space of numbers, and the way from a place in the unit cube to a point.

use super::state::WIDTH;
use crate::backend::cpu::double::{Double, Doubles};
use crate::backend::cpu::simd::{Lanes, Simd, transpose};
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

/// `low + place * length`: each axis's low, length and high, for whole chunks of them.
#[derive(Debug, Clone)]
pub struct Linear {
    /// `[low, length, high][chunk]`
    chunks: Vec<[Doubles; 3]>,
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

    /// The point at a place; `point` begins with the [`Axes::template`].
    pub fn decode(&self, place: &[Lanes], point: &mut [f64]) {
        for (axis, (column, codec)) in self.columns.iter().zip(&self.codecs).enumerate() {
            point[*column] = codec.decode(f64::from(place[axis / WIDTH].0[axis % WIDTH]));
        }
    }

    /// What decodes sixteen axes, or sixteen points, at a time, where every parameter is an axis that runs evenly.
    pub fn linear(&self) -> Option<&Linear> {
        self.linear.as_ref()
    }
}

impl Linear {
    fn new(codecs: &[Codec]) -> Option<Linear> {
        let bounds = |codec: &Codec| match *codec {
            Codec::Continuous { scale: Scale::Linear, length, low, high, .. } => Some([low, length, high]),
            _ => None,
        };
        let bounds: Vec<[f64; 3]> = codecs.iter().map(bounds).collect::<Option<_>>()?;
        let chunk = |bounds: &[[f64; 3]]| {
            let which = |which: usize| std::array::from_fn(|i| bounds.get(i).map_or(0.0, |bounds| bounds[which]));
            [Doubles(which(0)), Doubles(which(1)), Doubles(which(2))]
        };
        Some(Linear { chunks: bounds.chunks(WIDTH).map(chunk).collect() })
    }

    /// The point at a place; `point` has room for whole chunks of axes.
    #[inline(always)]
    pub fn decode<V: Simd>(&self, place: &[Lanes], point: &mut [f64]) {
        for ((place, point), bounds) in place.iter().zip(point.chunks_exact_mut(WIDTH)).zip(&self.chunks) {
            let [low, length, high] = bounds;
            let [low, length, high] = [V::Double::load(low), V::Double::load(length), V::Double::load(high)];
            let mut lanes = Doubles::splat(0.0);
            decoded(V::Double::widen(place), low, length, high).store(&mut lanes);
            point.copy_from_slice(&lanes.0);
        }
    }

    /// Points `[axis][point]` at the places of sixteen rows.
    #[inline(always)]
    pub fn decode_sixteen<V: Simd>(&self, rows: &[&[Lanes]; WIDTH], points: &mut [Doubles]) {
        for (chunk, (points, bounds)) in points.chunks_mut(WIDTH).zip(&self.chunks).enumerate() {
            let mut block = [V::zero(); WIDTH];
            for (lanes, row) in block.iter_mut().zip(rows) {
                *lanes = V::load(&row[chunk]);
            }
            let axes = transpose::<V>(block);
            for (axis, (point, places)) in points.iter_mut().zip(axes).enumerate() {
                let mut lanes = Lanes::ZERO;
                places.store(&mut lanes);
                let [low, length, high] = bounds;
                let (low, length) = (V::Double::splat(low.0[axis]), V::Double::splat(length.0[axis]));
                decoded(V::Double::widen(&lanes), low, length, V::Double::splat(high.0[axis])).store(point);
            }
        }
    }
}

/// [`Codec::decode`] to the bit: both ends are met, and nothing lies outside.
#[inline(always)]
fn decoded<D: Double>(place: D, low: D, length: D, high: D) -> D {
    /// Between 1 and the number before it of those that a place can be.
    const NEARLY_ONE: f64 = 1.0 - 1.0 / (1u64 << 25) as f64;
    let value = low.add(place.mul(length));
    let value = D::select(value.less(low), low, value);
    let value = D::select(high.less(value), high, value);
    D::select(D::splat(NEARLY_ONE).less(place), high, value)
}
