/* tensor/cpu/attention_plan.h: how a call is shared among threads: tasks, the memory of each thread,
 * spans merged in order. Included by each attention_*.c through its steps; see attention_walk.h. */
#ifndef TENSOR_CPU_ATTENTION_PLAN_H
#define TENSOR_CPU_ATTENTION_PLAN_H

#include <omp.h>

#include "tensor/cpu/attention_walk.h"

/* total += part for rows [first, first + VEC_N): both are brought to the larger maximum. */
static void attention_merge(struct attention_sum *total, const struct attention_sum *part, size_t first,
                            size_t v_pad)
{
    vec a_max = vec_load(total->max + first), b_max = vec_load(part->max + first);
    vec max = vec_max(a_max, b_max);
    vec base = vec_if_minus_inf(max, vec_set(0.0f), max);
    vec va = vec_exp(vec_sub(a_max, base)), vb = vec_exp(vec_sub(b_max, base));
    vec_store(total->max + first, max);
    vec_store(total->weight + first,
              vec_fma(vec_load(total->weight + first), va, vec_mul(vec_load(part->weight + first), vb)));
    float a[VEC_N], b[VEC_N];
    vec_store(a, va);
    vec_store(b, vb);
    for (size_t r = 0; r < VEC_N; r++) {
        float *to = total->out + (first + r) * v_pad;
        const float *from = part->out + (first + r) * v_pad;
        for (size_t i = 0; i < v_pad; i += VEC_N) {
            vec_store(to + i,
                      vec_fma(vec_load(to + i), vec_set(a[r]), vec_mul(vec_load(from + i), vec_set(b[r]))));
        }
    }
}

/* The results of rows [first, last) of a task. */
static void attention_finish(const struct attention_sum *total, const struct attention_task *t, size_t first,
                             size_t last)
{
    const struct attention_args *a = t->a;
    for (size_t i = first; i < last; i++) {
        size_t row = t->row + i, head = t->kv_head * t->group + row % t->group;
        float *out = a->out + row / t->group * a->out_stride + head * a->v_dim;
        vec weight = vec_set(total->weight[i]);
        for (size_t j = 0; j < a->v_dim; j += VEC_N) {
            vec o = vec_div(vec_load(total->out + i * t->v_pad + j), weight);
            if (a->v_dim - j >= VEC_N) {
                vec_store(out + j, o);
            } else {
                vec_store_n(out + j, o, a->v_dim - j);
            }
        }
    }
}

/* ---- the plan: tasks, threads, memory ---- */

struct attention_plan {
    const struct attention_args *a;
    size_t group, blocks, tasks, spans, k_pad, v_pad;
    size_t sum_floats, work_floats;
    double work; /* multiply-adds */
};

static size_t attention_spans_of(const struct attention_task *t)
{
    return (t->a->pos + (t->row + t->n_rows - 1) / t->group) / ATTENTION_SPAN + 1;
}

/* Task i: one KV head after the other, so that its keys and values stay in the core's cache; of each
 * head the rows with the most keys first, so that threads end together. */
static struct attention_task attention_task_at(const struct attention_plan *p, size_t i)
{
    struct attention_task t = {.a = p->a, .group = p->group, .k_pad = p->k_pad, .v_pad = p->v_pad};
    size_t rows = p->a->n_tokens * p->group;
    t.kv_head = i / p->blocks;
    t.row = (p->blocks - 1 - i % p->blocks) * ATTENTION_ROWS;
    t.n_rows = attention_least(rows - t.row, ATTENTION_ROWS);
    t.n_vecs = (t.n_rows + VEC_N - 1) / VEC_N;
    return t;
}

static struct attention_plan attention_plan_of(const struct attention_args *a)
{
    struct attention_plan p = {.a = a, .group = a->n_heads / a->n_kv_heads};
    size_t rows = a->n_tokens * p.group, keys = a->pos + a->n_tokens;
    p.blocks = (rows + ATTENTION_ROWS - 1) / ATTENTION_ROWS;
    p.tasks = p.blocks * a->n_kv_heads;
    p.spans = (keys + ATTENTION_SPAN - 1) / ATTENTION_SPAN;
    p.k_pad = attention_round(a->k_dim, VEC_N);
    p.v_pad = attention_round(a->v_dim, VEC_N);
    p.sum_floats = 2 * ATTENTION_ROWS + ATTENTION_ROWS * p.v_pad;
    p.work_floats = ATTENTION_KEYS * ATTENTION_ROWS * 2 + ATTENTION_ROWS + ATTENTION_ROWS * p.k_pad +
                    ATTENTION_KEYS * (p.k_pad + p.v_pad) + 2 * p.sum_floats;
    p.work = (double)(a->n_tokens * a->n_heads) * (double)keys * (double)(a->k_dim + a->v_dim);
    return p;
}

static struct attention_sum attention_sum_at(float *at, const struct attention_plan *p)
{
    (void)p;
    return (struct attention_sum){at, at + ATTENTION_ROWS, at + 2 * ATTENTION_ROWS};
}

static struct attention_work attention_work_at(float *at, const struct attention_plan *p)
{
    struct attention_work w;
    w.score = at;
    w.p = w.score + ATTENTION_KEYS * ATTENTION_ROWS;
    w.alpha = w.p + ATTENTION_KEYS * ATTENTION_ROWS;
    w.q = w.alpha + ATTENTION_ROWS;
    w.k = w.q + ATTENTION_ROWS * p->k_pad;
    w.v = w.k + ATTENTION_KEYS * p->k_pad;
    w.part = attention_sum_at(w.v + ATTENTION_KEYS * p->v_pad, p);
    w.total = attention_sum_at(w.part.max + p->sum_floats, p);
    return w;
}

/* All calls of an operation. */
struct attention_batch {
    const struct attention_args *calls;
    size_t n_calls;
    double work;
    int threads;
};

/* Whether a call's spans are shared among the threads rather than its tasks: those are few, and one thread
 * would work at them long after the others are through with everything else. */
static bool attention_by_span(const struct attention_batch *b, const struct attention_plan *p)
{
    return b->threads > 1 && p->spans > 1 && p->tasks < 2 * (size_t)b->threads &&
           p->work * 2 * b->threads > b->work;
}

/* Spans in flight. */
static size_t attention_wave(const struct attention_plan *p, int threads)
{
    return attention_least(p->spans, ATTENTION_WAVE * (size_t)threads);
}

/* A whole task on one thread. */
static void attention_run_task(const struct attention_plan *p, float *memory, size_t i)
{
    struct attention_work w = attention_work_at(memory, p);
    struct attention_task t = attention_task_at(p, i);
    size_t spans = attention_spans_of(&t);
    attention_begin();
    attention_pack(&w, &t);
    attention_clear(&w.total, &t);
    for (size_t s = 0; s < spans; s++) {
        attention_span(&w, &t, s);
        for (size_t v = 0; v < t.n_vecs; v++) {
            attention_merge(&w.total, &w.part, v * VEC_N, p->v_pad);
        }
    }
    attention_end();
    attention_finish(&w.total, &t, 0, t.n_rows);
}

/* The tasks of all calls but those shared by spans: unit u is task u % most of call u / most. */
static void attention_run_tasks(const struct attention_batch *b, float *memory)
{
    size_t most = 1;
    for (size_t i = 0; i < b->n_calls; i++) {
        size_t tasks = attention_plan_of(&b->calls[i]).tasks;
        most = tasks > most ? tasks : most;
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads(b->threads)
    for (size_t u = 0; u < b->n_calls * most; u++) {
        struct attention_plan p = attention_plan_of(&b->calls[u / most]);
        if (u % most < p.tasks && !attention_by_span(b, &p)) {
            attention_run_task(&p, memory + (size_t)omp_get_thread_num() * p.work_floats, u % most);
        }
    }
}

/* Few tasks, many keys: the threads share (span, task) units, a wave of them at a time, and merge
 * each wave in the order of the spans. `memory`: work of each thread, totals of the tasks, sums of
 * a wave. */
static void attention_run_spans(const struct attention_plan *p, float *memory, int threads)
{
    size_t wave = attention_wave(p, threads);
    float *totals = memory + (size_t)threads * p->work_floats;
    float *parts = totals + p->tasks * p->sum_floats;
    size_t vecs = p->tasks * ATTENTION_VECS;
    for (size_t i = 0; i < p->tasks; i++) {
        struct attention_task t = attention_task_at(p, i);
        struct attention_sum total = attention_sum_at(totals + i * p->sum_floats, p);
        attention_clear(&total, &t);
    }
#pragma omp parallel num_threads(threads)
    {
        struct attention_work w = attention_work_at(memory + (size_t)omp_get_thread_num() * p->work_floats, p);
        size_t packed = p->tasks; /* the task whose queries are in w.q */
        for (size_t start = 0; start < p->spans; start += wave) {
            size_t n = attention_least(p->spans - start, wave);
#pragma omp for schedule(dynamic, 1)
            for (size_t u = 0; u < n * p->tasks; u++) {
                size_t i = u % p->tasks, span = start + u / p->tasks;
                struct attention_task t = attention_task_at(p, i);
                attention_begin();
                if (packed != i) {
                    attention_pack(&w, &t);
                    packed = i;
                }
                w.part = attention_sum_at(parts + u * p->sum_floats, p);
                attention_span(&w, &t, span);
                attention_end();
            }
#pragma omp for schedule(static)
            for (size_t j = 0; j < vecs; j++) {
                size_t i = j / ATTENTION_VECS, first = j % ATTENTION_VECS * VEC_N;
                struct attention_task t = attention_task_at(p, i);
                if (first >= t.n_rows) {
                    continue;
                }
                struct attention_sum total = attention_sum_at(totals + i * p->sum_floats, p);
                for (size_t s = 0; s < n; s++) {
                    struct attention_sum part = attention_sum_at(parts + (s * p->tasks + i) * p->sum_floats, p);
                    attention_merge(&total, &part, first, p->v_pad);
                }
                if (start + n == p->spans) {
                    attention_finish(&total, &t, first, attention_least(first + VEC_N, t.n_rows));
                }
            }
        }
    }
}

static err attention_run(struct compute *c, const struct attention_args *calls, size_t n_calls)
{
    struct attention_batch b = {.calls = calls, .n_calls = n_calls, .threads = c->n_threads};
    size_t floats = 1;
    for (size_t i = 0; i < n_calls; i++) {
        b.work += attention_plan_of(&calls[i]).work;
    }
    b.threads = b.work < ATTENTION_WORK ? 1 : b.threads;
    for (size_t i = 0; i < n_calls; i++) {
        struct attention_plan p = attention_plan_of(&calls[i]);
        size_t n = (size_t)b.threads * p.work_floats;
        if (attention_by_span(&b, &p)) {
            n += p.tasks * (1 + attention_wave(&p, b.threads)) * p.sum_floats;
        }
        floats = n > floats ? n : floats;
    }
    float *memory = compute_scratch(c, floats * sizeof *memory);
    if (!memory) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < n_calls; i++) {
        struct attention_plan p = attention_plan_of(&calls[i]);
        if (attention_by_span(&b, &p)) {
            attention_run_spans(&p, memory, b.threads);
        }
    }
    attention_run_tasks(&b, memory);
    return ERR_OK;
}

#endif
