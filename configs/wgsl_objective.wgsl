// How far a damped oscillation is from the one that was measured: the root of the mean squared error.
//
// objective is called once for each candidate, thousands of them at a time. Params has the parameters of [space], measured_at
// reads the table that [objective.tables] names, and FRICTION_VISCOUS is a choice of the study's. docs/wgsl.md has all there is.

fn objective(p: Params) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < MEASURED_ROWS; row += 1u) {
        let time = measured_at(row, 0u);
        let error = measured_at(row, 1u) - position(p, time);
        sum += error * error;
    }
    return sqrt(sum / f32(MEASURED_ROWS));
}

fn position(p: Params, time: f32) -> f32 {
    var envelope = max(0.0, 1.0 - p.damping * time);     // dry friction takes the same from every swing
    if (p.friction == FRICTION_VISCOUS) {
        envelope = exp(-p.damping * time);               // viscous friction takes the same share
    }
    return p.amplitude * envelope * cos(p.frequency * time + p.phase);
}
