// The loss on the first set to score, in whole steps: src/models/gbdt/validate.rs.

var<workgroup> low_words: array<u32, WORKGROUP>;
var<workgroup> high_words: array<u32, WORKGROUP>;

fn row_loss(lane: u32, row: u32, y: f32) -> f32 {
    let score = number_at(score_at(lane, 0u, row));
    let error = held(y - score);
    switch lanes[lane].loss {
        case LOSS_BINARY: {
            let against = select(-score, score, y < 0.5);
            return held(max(against, 0.0) + exact_ln(held(1.0 + exact_exp(-abs(against)))));
        }
        case LOSS_SOFTMAX: {
            let largest = largest_score(lane, row);
            var sum = 0.0;
            for (var k = 0u; k < lanes[lane].scores; k += 1u) {
                sum = held(sum + exact_exp(held(number_at(score_at(lane, k, row)) - largest)));
            }
            return held(held(largest - number_at(score_at(lane, u32(y), row))) + exact_ln(sum));
        }
        case LOSS_ABSOLUTE: { return abs(error); }
        case LOSS_QUANTILE: {
            return max(product(error, lanes[lane].quantile), product(error, held(lanes[lane].quantile - 1.0)));
        }
        case LOSS_POISSON: { return held(exact_exp(score) - product(y, score)); }
        default: { return product(error, error); }
    }
}

// The sum over the set's rows, a number of 64 bits with its high word first.
fn validation_loss(lane: u32, thread: u32) -> vec2<u32> {
    let first = lanes[lane].sets.x[1];
    let by = exact_power(lanes[lane].loss_exponent);
    var low = 0u;
    var high = 0u;
    for (var place = thread; place < lanes[lane].sets.rows[1]; place += WORKGROUP) {
        let y = targets[lanes[lane].eval_y + place];
        let steps = product(row_loss(lane, first + place, y), targets[lanes[lane].eval_weight + place]) * by;
        var whole = i32(MOST_LOSS);
        if (is_finite(steps)) {
            whole = i32(clamp(steps, -MOST_LOSS, MOST_LOSS));
        }
        low += bitcast<u32>(whole);
        high += bitcast<u32>(whole >> 31u) + select(0u, 1u, low < bitcast<u32>(whole));
    }
    workgroupBarrier();
    low_words[thread] = low;
    high_words[thread] = high;
    workgroupBarrier();
    var sum = vec2<u32>(0u);
    for (var other = 0u; other < WORKGROUP; other += 1u) {
        sum.y += low_words[other];
        sum.x += high_words[other] + select(0u, 1u, sum.y < low_words[other]);
    }
    return sum;
}

// Keeps the best round, and says whether none has been better for long.
fn watch(lane: u32, rounds: u32, thread: u32) -> bool {
    let loss = validation_loss(lane, thread);
    let high = bitcast<i32>(loss.x);
    let best_high = bitcast<i32>(standing.best_loss_high);
    let is_better = high < best_high || (high == best_high && loss.y < standing.best_loss_low);
    if (standing.best_round > 0u && !is_better) {
        return rounds - standing.best_round >= lanes[lane].patience;
    }
    standing.best_round = rounds;
    standing.best_loss_high = loss.x;
    standing.best_loss_low = loss.y;
    for (var word = thread; word < lanes[lane].scores * lanes[lane].rows; word += WORKGROUP) {
        state[best_score_at(lane, 0u, word)] = state[score_at(lane, 0u, word)];
    }
    sync();
    return false;
}
