//! Plain Rust: what every other processor runs, and what the others are tested against.

use super::{LANES, Lanes, Simd};
use crate::backend::cpu::double::PlainDouble;

#[derive(Clone, Copy)]
pub struct Plain([f32; LANES]);

macro_rules! plain {
    ($($name:ident($($arg:ident),*) = $body:expr;)*) => {
        $(#[inline(always)]
        fn $name(self $(, $arg: Self)*) -> Self {
            let f: fn(f32 $(, plain!(@f32 $arg))*) -> f32 = $body;
            Plain(std::array::from_fn(#[inline(always)] |i| f(self.0[i] $(, $arg.0[i])*)))
        })*
    };
    (@f32 $arg:ident) => { f32 };
}

fn bits(f: impl Fn(u32, u32) -> u32, a: f32, b: f32) -> f32 {
    f32::from_bits(f(a.to_bits(), b.to_bits()))
}

impl Simd for Plain {
    type Mask = [bool; LANES];
    type Double = PlainDouble;
    const TILE_ROWS: usize = 2;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Plain([value; LANES])
    }
    #[inline(always)]
    fn load(from: &Lanes) -> Self {
        Plain(from.0)
    }
    #[inline(always)]
    fn store(self, to: &mut Lanes) {
        to.0 = self.0;
    }
    plain! {
        add(b) = |a, b| a + b;
        sub(b) = |a, b| a - b;
        mul(b) = |a, b| a * b;
        div(b) = |a, b| a / b;
        mul_add(b, c) = |a, b, c| a.mul_add(b, c);
        neg_mul_add(b, c) = |a, b, c| (-a).mul_add(b, c);
        max(b) = |a, b| if a > b { a } else { b };
        min(b) = |a, b| if a < b { a } else { b };
        abs() = |a| a.abs();
        bits_to_exponent() = |a| f32::from_bits(a.to_bits() << 23);
        add_bits(b) = |a, b| bits(u32::wrapping_add, a, b);
        halve_bits_from(b) = |a, b| bits(|a, b| b.wrapping_sub(a >> 1), a, b);
        and_bits(b) = |a, b| bits(|a, b| a & b, a, b);
        or_bits(b) = |a, b| bits(|a, b| a | b, a, b);
        exponent_to_float() = |a| (a.to_bits() >> 23) as f32;
        xor_bits(b) = |a, b| bits(|a, b| a ^ b, a, b);
        top_bits_to_float() = |a| (a.to_bits() >> 8) as f32;
        sub_bits(b) = |a, b| bits(u32::wrapping_sub, a, b);
        ints_to_float() = |a| a.to_bits() as i32 as f32;
        float_to_ints() = |a| f32::from_bits(a as i32 as u32);
    }
    #[inline(always)]
    fn less(self, other: Self) -> [bool; LANES] {
        std::array::from_fn(|i| self.0[i] < other.0[i])
    }
    #[inline(always)]
    fn select(mask: [bool; LANES], yes: Self, no: Self) -> Self {
        Plain(std::array::from_fn(|i| if mask[i] { yes.0[i] } else { no.0[i] }))
    }
    #[inline(always)]
    fn mask_bits(mask: [bool; LANES]) -> u32 {
        mask.iter().enumerate().fold(0, |bits, (i, is_set)| bits | u32::from(*is_set) << i)
    }
    #[inline(always)]
    fn rotate_bits(self, places: u32) -> Self {
        Plain(self.0.map(|value| f32::from_bits(value.to_bits().rotate_left(places))))
    }
    #[inline(always)]
    fn interleave(self, other: Self) -> [Self; 2] {
        let place = |i: usize| if i.is_multiple_of(2) { self.0[i / 2] } else { other.0[i / 2] };
        [Plain(std::array::from_fn(place)), Plain(std::array::from_fn(|i| place(LANES + i)))]
    }
    #[inline(always)]
    fn deinterleave(self, other: Self) -> [Self; 2] {
        let place = |i: usize| if i < LANES { self.0[i] } else { other.0[i - LANES] };
        [0, 1].map(|from| Plain(std::array::from_fn(|i| place(2 * i + from))))
    }
}
