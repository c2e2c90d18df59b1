//! How rows are dealt to parts. Every part comes back ascending.

use crate::base::random::{Key, shuffled};

/// The rows in random order.
fn shuffle(rows: &[u32], key: Key) -> Vec<u32> {
    shuffled(key, rows.len()).into_iter().map(|place| rows[place as usize]).collect()
}

/// Deals rows one by one, as cards.
fn deal_in_order(rows: &[u32], parts: usize) -> Vec<Vec<u32>> {
    let mut dealt = vec![Vec::with_capacity(rows.len() / parts + 1); parts];
    for (place, &row) in rows.iter().enumerate() {
        dealt[place % parts].push(row);
    }
    dealt.iter_mut().for_each(|part| part.sort_unstable());
    dealt
}

/// Random parts whose sizes differ by one row at most.
pub(super) fn deal(rows: &[u32], parts: usize, key: Key) -> Vec<Vec<u32>> {
    deal_in_order(&shuffle(rows, key), parts)
}

/// Random rows, class after class.
fn by_class(codes: &[u32], rows: &[u32], key: Key) -> Vec<u32> {
    let mut rows = shuffle(rows, key);
    rows.sort_by_key(|&row| codes[row as usize]);
    rows
}

/// Parts whose sizes, and counts of each class, differ by one row at most: one class is dealt after the other without
/// starting again at the first part.
pub(super) fn deal_by_class(codes: &[u32], rows: &[u32], parts: usize, key: Key) -> Vec<Vec<u32>> {
    deal_in_order(&by_class(codes, rows, key), parts)
}

/// `wanted` random rows.
pub(super) fn some(rows: &[u32], wanted: usize, key: Key) -> Vec<u32> {
    shuffle(rows, key)[..wanted.min(rows.len())].to_vec()
}

/// `wanted` random rows, evenly spread over the rows sorted by class: each class gives its share, to one row.
pub(super) fn some_of_each_class(codes: &[u32], rows: &[u32], wanted: usize, key: Key) -> Vec<u32> {
    let rows = by_class(codes, rows, key);
    let (wanted, all) = (wanted.min(rows.len()), rows.len());
    // Row i is taken where the running count floor(i wanted / all) steps.
    (0..all).filter(|i| (i + 1) * wanted / all > i * wanted / all).map(|i| rows[i]).collect()
}

/// The groups of some rows in random order, each with its rows.
fn groups(codes: &[u32], rows: &[u32], key: Key) -> Vec<Vec<u32>> {
    let mut sorted = rows.to_vec();
    sorted.sort_by_key(|&row| codes[row as usize]);
    let groups: Vec<Vec<u32>> =
        sorted.chunk_by(|&a, &b| codes[a as usize] == codes[b as usize]).map(<[u32]>::to_vec).collect();
    shuffled(key, groups.len()).into_iter().map(|place| groups[place as usize].clone()).collect()
}

/// Parts that split no group: the largest groups first, each to the smallest part so far.
pub(super) fn deal_groups(codes: &[u32], rows: &[u32], parts: usize, key: Key) -> Vec<Vec<u32>> {
    let mut groups = groups(codes, rows, key);
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut dealt = vec![Vec::new(); parts];
    for group in groups {
        if let Some(smallest) = dealt.iter_mut().min_by_key(|part| part.len()) {
            smallest.extend(group);
        }
    }
    dealt.iter_mut().for_each(|part| part.sort_unstable());
    dealt
}

/// Whole random groups, until taking one more would leave the wanted number further away; at least one, the smallest if
/// all are too large, and never all of them. Nothing where there is one group only.
pub(super) fn some_groups(codes: &[u32], rows: &[u32], wanted: usize, key: Key) -> Vec<u32> {
    let groups = groups(codes, rows, key);
    let mut taken: Vec<u32> = Vec::new();
    for group in &groups[..groups.len().saturating_sub(1)] {
        if (taken.len() + group.len()).abs_diff(wanted) < taken.len().abs_diff(wanted) {
            taken.extend(group);
        }
    }
    match groups.iter().min_by_key(|group| group.len()) {
        Some(smallest) if taken.is_empty() && groups.len() > 1 => smallest.clone(),
        _ => taken,
    }
}
