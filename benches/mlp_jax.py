"""The JAX side of mlp.py: the whole training of many lanes as one compiled program, in processes of their own.

A lane is trained by lax.scan over its minibatches; jit(vmap) makes one program of a chunk of lanes. Where lanes share
their minibatches, these stay unbatched under vmap. What is fastest depends on the version and the machine: mlp.py tries.
"""

import multiprocessing
import os
import time
from dataclasses import dataclass

# Adam, as Kingma & Ba and scikit-learn have it.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Variant:
    """How the lanes are cut up. `chunk`: lanes of one compiled program; `shares`: one row order for all lanes."""

    processes: int
    chunk: int
    shares: bool

    def __str__(self):
        whose = "shared minibatches" if self.shares else "each lane its own minibatches"
        return f"{self.processes} process{'es' * (self.processes > 1)}, {self.chunk} lanes a program, {whose}"


class Peer:
    """Worker processes that keep their compiled programs."""

    def __init__(self, variant, cores, fold, rates, epochs, batch, hidden):
        """Starts the workers and compiles; `fold`: (x, y) of the training and of the held-out rows."""
        spawn = multiprocessing.get_context("spawn")
        shares = [cores[process :: variant.processes] for process in range(variant.processes)]
        self.workers, self.pipes = [], []
        for process, mine in enumerate(shares):
            pipe, theirs = spawn.Pipe()
            lanes = rates[process :: variant.processes]
            arguments = (theirs, mine, variant, fold, lanes, epochs, batch, hidden)
            worker = spawn.Process(target=serve, args=arguments, daemon=True)
            worker.start()
            self.workers.append(worker)
            self.pipes.append(pipe)
        self.start_seconds, self.compile_seconds = map(max, zip(*(pipe.recv() for pipe in self.pipes)))

    def train(self):
        """Trains all lanes: seconds, and each lane's held-out probabilities."""
        for pipe in self.pipes:
            pipe.send("train")
        answers = [pipe.recv() for pipe in self.pipes]
        return {
            "seconds": max(seconds for seconds, _ in answers),
            "probabilities": [lane for _, lanes in answers for lane in lanes],
        }

    def close(self):
        for pipe, worker in zip(self.pipes, self.workers):
            pipe.send("end")
            worker.join()


def serve(pipe, cores, variant, fold, rates, epochs, batch, hidden):
    """A worker: compiles, says so, then trains whenever it is told to."""
    # Before jax is imported: it takes as many threads as it may use cores.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    start = time.perf_counter()
    import jax
    import jax.numpy as jnp
    import numpy as np

    train, predict = programs(jax, hidden, np.unique(fold[0][1]).size)
    (x, y), (held_out, _) = [(jnp.asarray(x), jnp.asarray(y.astype("i4"))) for x, y in fold]
    start_seconds = time.perf_counter() - start

    chunks = [jnp.asarray(rates[first : first + variant.chunk]) for first in range(0, len(rates), variant.chunk)]
    random = np.random.default_rng(0)
    orders = np.stack([random.permutation(len(y)) for _ in range(epochs)]).reshape(-1, batch)
    if variant.shares:
        axes = (0, None, None, None)
        orders = [jnp.asarray(orders)] * len(chunks)
    else:
        axes = (0, None, None, 0)
        orders = [jnp.asarray(np.broadcast_to(orders, (len(chunk), *orders.shape))) for chunk in chunks]
    start = time.perf_counter()
    # The last chunk may be smaller, and then has a program of its own.
    sizes = {len(chunk): (chunk, order) for chunk, order in zip(chunks, orders)}
    vmapped = jax.jit(jax.vmap(train, axes))
    compiled = {size: vmapped.lower(chunk, x, y, order).compile() for size, (chunk, order) in sizes.items()}
    pipe.send((start_seconds, time.perf_counter() - start))
    while pipe.recv() == "train":
        start = time.perf_counter()
        weights = [compiled[len(chunk)](chunk, x, y, order) for chunk, order in zip(chunks, orders)]
        jax.block_until_ready(weights)
        seconds = time.perf_counter() - start
        pipe.send((seconds, [np.asarray(lane) for chunk in weights for lane in predict(chunk, held_out)]))


def programs(jax, hidden, classes):
    """The training of one lane, and the probabilities of a chunk of trained lanes."""
    jnp = jax.numpy

    def logits(weights, x):
        w1, b1, w2, b2 = weights
        return jax.nn.relu(x @ w1 + b1) @ w2 + b2

    def loss(weights, x, y):
        return -jnp.take_along_axis(jax.nn.log_softmax(logits(weights, x)), y[:, None], axis=1).mean()

    def start(features):
        keys = jax.random.split(jax.random.key(0))
        bounds = (6 / features) ** 0.5, (3 / hidden) ** 0.5
        w1 = jax.random.uniform(keys[0], (features, hidden), minval=-bounds[0], maxval=bounds[0])
        w2 = jax.random.uniform(keys[1], (hidden, classes), minval=-bounds[1], maxval=bounds[1])
        return w1, jnp.zeros(hidden), w2, jnp.zeros(classes)

    def train(rate, x, y, orders):
        def step(state, rows):
            weights, first, second, powers = state
            gradient = jax.grad(loss)(weights, x[rows], y[rows])
            powers = powers[0] * BETA1, powers[1] * BETA2
            first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, gradient)
            second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, second, gradient)
            scale = rate * jnp.sqrt(1 - powers[1]) / (1 - powers[0])
            move = lambda w, m, v: w - scale * m / (jnp.sqrt(v) + EPSILON)
            return (jax.tree.map(move, weights, first, second), first, second, powers), None

        weights = start(x.shape[1])
        zeros = jax.tree.map(jnp.zeros_like, weights)
        state = weights, zeros, zeros, (jnp.float32(1), jnp.float32(1))
        return jax.lax.scan(step, state, orders)[0][0]

    predict = jax.jit(jax.vmap(lambda weights, x: jax.nn.softmax(logits(weights, x)), (0, None)))
    return train, predict
