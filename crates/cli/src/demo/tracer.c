/*
 * The compute core of `farcall demo`: a path tracer. A job is one tile of a picture, with the
 * whole scene in its input; the output is the tile's pixels, 3 bytes each (sRGB-like), row by row
 * from the top.
 *
 * The same input gives the same bytes on every machine: only + - * / and sqrt on doubles, which
 * IEEE 754 fixes to the last bit, no function of libm that may differ, and a random sequence
 * that starts from the pixel's place. Compile without -ffast-math:
 *
 *     cc -std=c99 -O2 -ffp-contract=off -shared -fPIC -I crates/core-abi/include \
 *        -o libtracer.so crates/cli/src/demo/tracer.c -lm
 *
 * The input, little-endian and without gaps (u32, f64; v3 is three f64):
 *
 *     magic "FCT1"
 *     u32 width, height               of the picture
 *     u32 x, y, columns, rows         the tile, inside of it
 *     u32 samples, depth_max          paths per pixel; bounces per path
 *     f64 exposure                    brightness 1 is white at exposure 1
 *     v3  eye, right, up, forward     the camera; three unit vectors
 *     f64 half_width, half_height     of the view at distance 1
 *     f64 lens, focus                 radius of the lens; distance that is sharp
 *     v3  horizon, zenith             colours of the sky
 *     u32 materials, spheres, planes, rectangles        how many follow of each:
 *     material    u32 kind (0 diffuse, 1 metal, 2 glass, 3 glossy, 4 light), u32 0,
 *                 v3 colour, v3 checker_colour,
 *                 f64 checker_size (0: none), f64 amount (metal: roughness; glass: index)
 *     sphere      u32 material, u32 0, v3 centre, f64 radius
 *     plane       u32 material, u32 0, v3 point, v3 normal (unit)
 *     rectangle   u32 material, u32 0, v3 corner, v3 side, v3 other_side
 *
 * Exit codes: 1 the input is not like that, 2 no memory.
 *
 * How it works: each path goes from the eye through a random point of the pixel and of the lens.
 * Where it meets a dull surface, it looks at a random point of each light, takes what arrives,
 * and goes on in a random direction. The first choices of a pixel's paths are stratified: the
 * paths share a grid, one path per cell, which takes out most of the noise.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "farcall_core.h"

/* ---- numbers and vectors ------------------------------------------------------------- */

typedef struct {
    double x, y, z;
} Vec;

static Vec vec(double x, double y, double z)
{
    Vec v = {x, y, z};
    return v;
}

static Vec add(Vec a, Vec b) { return vec(a.x + b.x, a.y + b.y, a.z + b.z); }
static Vec sub(Vec a, Vec b) { return vec(a.x - b.x, a.y - b.y, a.z - b.z); }
static Vec mul(Vec a, Vec b) { return vec(a.x * b.x, a.y * b.y, a.z * b.z); }
static Vec scale(Vec a, double k) { return vec(a.x * k, a.y * k, a.z * k); }
static double dot(Vec a, Vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

static Vec cross(Vec a, Vec b)
{
    return vec(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x);
}

static Vec unit(Vec a) { return scale(a, 1 / sqrt(dot(a, a))); }
static double largest(Vec a) { return a.x > a.y ? (a.x > a.z ? a.x : a.z) : (a.y > a.z ? a.y : a.z); }

static double floor_of(double x)
{
    double whole = (double)(int64_t)x;
    return whole > x ? whole - 1 : whole;
}

/* Sine and cosine of `turn` (0 to 1) of a full circle, to 9 digits, by their series. */
static void on_circle(double turn, double *sine, double *cosine)
{
    int quarter = (int)(turn * 4 + 0.5);
    double a = (turn * 4 - quarter) * 1.5707963267948966, q = a * a;
    double s = a * (1 - q / 6 * (1 - q / 20 * (1 - q / 42 * (1 - q / 72 * (1 - q / 110)))));
    double c = 1 - q / 2 * (1 - q / 12 * (1 - q / 30 * (1 - q / 56 * (1 - q / 90))));
    switch (quarter & 3) {
    case 0: *sine = s, *cosine = c; break;
    case 1: *sine = c, *cosine = -s; break;
    case 2: *sine = -s, *cosine = -c; break;
    default: *sine = -c, *cosine = s; break;
    }
}

/* ---- random numbers ------------------------------------------------------------------ */

#define STRATIFIED 8 /* pairs of random numbers of a path that come from the pixel's grid */

typedef struct {
    uint64_t state;
    uint32_t pattern;  /* which shuffles of the grid this pixel uses */
    uint32_t path, columns, rows;
    uint32_t pair;     /* how many pairs this path has drawn */
} Random;

static uint32_t scramble(uint32_t x)
{
    x ^= x >> 16, x *= 0x7feb352du;
    x ^= x >> 15, x *= 0x846ca68bu;
    return x ^ x >> 16;
}

/* splitmix64 */
static double uniform(Random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * (1.0 / 9007199254740992.0);
}

/* Element i of a shuffle of 0..count (Kensler, Correlated Multi-Jittered Sampling, 2013). */
static uint32_t shuffled(uint32_t i, uint32_t count, uint32_t pattern)
{
    uint32_t mask = count - 1;
    mask |= mask >> 1, mask |= mask >> 2, mask |= mask >> 4, mask |= mask >> 8, mask |= mask >> 16;
    do {
        i ^= pattern, i *= 0xe170893du;
        i ^= pattern >> 16;
        i ^= (i & mask) >> 4;
        i ^= pattern >> 8, i *= 0x0929eb3fu;
        i ^= pattern >> 23;
        i ^= (i & mask) >> 1, i *= 1 | pattern >> 27;
        i *= 0x6935fa69u;
        i ^= (i & mask) >> 11, i *= 0x74dcb303u;
        i ^= (i & mask) >> 2, i *= 0x9e501cc3u;
        i ^= (i & mask) >> 2, i *= 0xc860a3dfu;
        i &= mask;
        i ^= i >> 5;
    } while (i >= count);
    return (i + pattern) % count;
}

static void pair(Random *random, double *u, double *v)
{
    uint32_t number = random->pair++;
    *u = uniform(random);
    *v = uniform(random);
    if (number < STRATIFIED && random->path < random->columns * random->rows) {
        uint32_t cell = shuffled(random->path, random->columns * random->rows,
                                 scramble(random->pattern + number));
        *u = (cell % random->columns + *u) / random->columns;
        *v = (cell / random->columns + *v) / random->rows;
    }
}

/* A direction around `up`, more likely the nearer to it (by the cosine). */
static Vec around(Vec up, Random *random)
{
    double u, v, s, c;
    Vec side = up.x * up.x > 0.5 ? vec(0, 1, 0) : vec(1, 0, 0);
    Vec a = unit(cross(up, side)), b = cross(up, a);
    pair(random, &u, &v);
    on_circle(v, &s, &c);
    return unit(add(scale(up, sqrt(1 - u)), scale(add(scale(a, c), scale(b, s)), sqrt(u))));
}

/* ---- the scene ------------------------------------------------------------------------ */

enum { DIFFUSE, METAL, GLASS, GLOSSY, LIGHT, KINDS };
enum { SPHERE, PLANE, RECTANGLE };

typedef struct {
    uint32_t kind;
    Vec colour, checker_colour;
    double checker_size, amount;
} Material;

typedef struct {
    uint32_t shape, material;
    Vec at;        /* centre, point or corner */
    Vec normal;    /* of a plane or rectangle */
    Vec side, other; /* of a rectangle */
    double radius; /* of a sphere */
    double side_square, other_square, area; /* of a rectangle */
} Thing;

typedef struct {
    uint32_t width, height, x, y, columns, rows, samples, depth_max;
    double exposure;
    Vec eye, right, up, forward;
    double half_width, half_height, lens, focus;
    Vec horizon, zenith;
    uint32_t material_count, thing_count, light_count;
    Material *materials;
    Thing *things;
    uint32_t *lights; /* things that shine and have an end */
} Scene;

typedef struct {
    const unsigned char *at, *end;
    int bad;
} Reader;

static uint64_t read_bytes(Reader *reader, int count)
{
    uint64_t value = 0;
    int i;
    if (reader->end - reader->at < count) {
        reader->bad = 1;
        return 0;
    }
    for (i = 0; i < count; i++)
        value |= (uint64_t)reader->at[i] << 8 * i;
    reader->at += count;
    return value;
}

static uint32_t read_u32(Reader *reader)
{
    return (uint32_t)read_bytes(reader, 4);
}

static double read_f64(Reader *reader)
{
    uint64_t bits = read_bytes(reader, 8);
    double value;
    memcpy(&value, &bits, 8);
    if (!(value > -1e9 && value < 1e9)) /* also not a number */
        reader->bad = 1;
    return value;
}

static Vec read_vec(Reader *reader)
{
    Vec v;
    v.x = read_f64(reader);
    v.y = read_f64(reader);
    v.z = read_f64(reader);
    return v;
}

static void read_thing(Reader *reader, Scene *scene, uint32_t shape)
{
    Thing *thing = &scene->things[scene->thing_count];
    thing->shape = shape;
    thing->material = read_u32(reader);
    read_u32(reader);
    thing->at = read_vec(reader);
    if (shape == SPHERE) {
        thing->radius = read_f64(reader);
    } else if (shape == PLANE) {
        thing->normal = read_vec(reader);
    } else {
        Vec normal;
        thing->side = read_vec(reader);
        thing->other = read_vec(reader);
        normal = cross(thing->side, thing->other);
        thing->area = sqrt(dot(normal, normal));
        thing->normal = scale(normal, 1 / thing->area);
        thing->side_square = dot(thing->side, thing->side);
        thing->other_square = dot(thing->other, thing->other);
    }
    if (thing->material >= scene->material_count) {
        reader->bad = 1;
        return;
    }
    if (shape != PLANE && scene->materials[thing->material].kind == LIGHT)
        scene->lights[scene->light_count++] = scene->thing_count;
    scene->thing_count++;
}

/* Returns the exit code. What it allocates is freed by the caller, whatever it returns. */
static int32_t read_scene(Reader *reader, Scene *scene)
{
    uint32_t counts[3], shape, i;
    if (reader->end - reader->at < 4 || memcmp(reader->at, "FCT1", 4) != 0)
        return 1;
    reader->at += 4;
    scene->width = read_u32(reader);
    scene->height = read_u32(reader);
    scene->x = read_u32(reader);
    scene->y = read_u32(reader);
    scene->columns = read_u32(reader);
    scene->rows = read_u32(reader);
    scene->samples = read_u32(reader);
    scene->depth_max = read_u32(reader);
    scene->exposure = read_f64(reader);
    scene->eye = read_vec(reader);
    scene->right = read_vec(reader);
    scene->up = read_vec(reader);
    scene->forward = read_vec(reader);
    scene->half_width = read_f64(reader);
    scene->half_height = read_f64(reader);
    scene->lens = read_f64(reader);
    scene->focus = read_f64(reader);
    scene->horizon = read_vec(reader);
    scene->zenith = read_vec(reader);
    scene->material_count = read_u32(reader);
    for (shape = SPHERE; shape <= RECTANGLE; shape++)
        counts[shape] = read_u32(reader);
    if (reader->bad || scene->width > 65536 || scene->height > 65536
        || scene->x > scene->width || scene->columns > scene->width - scene->x
        || scene->y > scene->height || scene->rows > scene->height - scene->y
        || scene->samples == 0 || scene->samples > 1 << 20 || scene->depth_max > 1000
        || (uint64_t)(reader->end - reader->at)
               != scene->material_count * (uint64_t)72 + counts[SPHERE] * (uint64_t)40
                      + counts[PLANE] * (uint64_t)56 + counts[RECTANGLE] * (uint64_t)80)
        return 1;

    /* The sizes agree with the input's, so all of this is about as large as that. */
    scene->materials = calloc(scene->material_count + 1, sizeof *scene->materials);
    scene->things = calloc((size_t)counts[0] + counts[1] + counts[2] + 1, sizeof *scene->things);
    scene->lights = calloc((size_t)counts[0] + counts[2] + 1, sizeof *scene->lights);
    if (!scene->materials || !scene->things || !scene->lights)
        return 2;
    for (i = 0; i < scene->material_count; i++) {
        Material *material = &scene->materials[i];
        material->kind = read_u32(reader);
        read_u32(reader);
        material->colour = read_vec(reader);
        material->checker_colour = read_vec(reader);
        material->checker_size = read_f64(reader);
        material->amount = read_f64(reader);
        if (material->kind >= KINDS)
            return 1;
    }
    for (shape = SPHERE; shape <= RECTANGLE; shape++)
        for (i = 0; i < counts[shape] && !reader->bad; i++)
            read_thing(reader, scene, shape);
    return reader->bad ? 1 : 0;
}

/* ---- where a ray meets a thing ---------------------------------------------------------- */

#define NEAREST 1e-6 /* a ray does not meet what it starts on */

/* The distance along the ray, or `limit` if the ray misses the thing up to there. */
static double meet(const Thing *thing, Vec from, Vec way, double limit)
{
    if (thing->shape == SPHERE) {
        Vec to = sub(thing->at, from);
        double middle = dot(to, way), r = thing->radius;
        Vec miss = sub(to, scale(way, middle));
        double under = r * r - dot(miss, miss), half;
        if (under <= 0)
            return limit;
        half = sqrt(under);
        if (middle - half > NEAREST)
            return middle - half < limit ? middle - half : limit;
        return middle + half > NEAREST && middle + half < limit ? middle + half : limit;
    } else {
        double slope = dot(way, thing->normal), distance;
        if (slope == 0)
            return limit;
        distance = dot(sub(thing->at, from), thing->normal) / slope;
        if (!(distance > NEAREST && distance < limit))
            return limit;
        if (thing->shape == RECTANGLE) {
            Vec on = sub(add(from, scale(way, distance)), thing->at);
            double a = dot(on, thing->side), b = dot(on, thing->other);
            if (a < 0 || a > thing->side_square || b < 0 || b > thing->other_square)
                return limit;
        }
        return distance;
    }
}

static const Thing *nearest(const Scene *scene, Vec from, Vec way, double *distance)
{
    const Thing *found = NULL;
    uint32_t i;
    *distance = 1e30;
    for (i = 0; i < scene->thing_count; i++) {
        double here = meet(&scene->things[i], from, way, *distance);
        if (here < *distance) {
            *distance = here;
            found = &scene->things[i];
        }
    }
    return found;
}

static int is_dark(const Scene *scene, Vec from, Vec way, double limit)
{
    uint32_t i;
    for (i = 0; i < scene->thing_count; i++)
        if (meet(&scene->things[i], from, way, limit) < limit)
            return 1;
    return 0;
}

/* `width` is how much of the surface a pixel sees there: squares finer than that are mixed. */
static Vec colour_at(const Material *material, const Thing *thing, Vec point, Vec normal,
                     double width)
{
    double size = material->checker_size;
    if (size > 0) {
        double a = point.x, b = point.z, mixed = width / size - 0.5;
        Vec here = material->colour, next = material->checker_colour;
        mixed = mixed < 0 ? 0 : mixed > 1 ? 0.5 : mixed / 2;
        if (thing->shape == RECTANGLE) {
            Vec on = sub(point, thing->at);
            a = dot(on, thing->side) / sqrt(thing->side_square);
            b = dot(on, thing->other) / sqrt(thing->other_square);
        } else if (normal.x * normal.x > 0.5) {
            a = point.y;
        } else if (normal.z * normal.z > 0.5) {
            b = point.y;
        }
        /* So far away the squares are finer than the numbers. */
        if (!(a / size > -1e15 && a / size < 1e15 && b / size > -1e15 && b / size < 1e15))
            mixed = 0.5;
        else if ((int64_t)(floor_of(a / size) + floor_of(b / size)) & 1)
            mixed = 1 - mixed;
        return add(scale(here, 1 - mixed), scale(next, mixed));
    }
    return material->colour;
}

/* ---- light ---------------------------------------------------------------------------- */

/* What arrives at a dull point from one light, by way of a random point of it. */
static Vec light_from(const Scene *scene, const Thing *light, Vec point, Vec normal,
                      Random *random)
{
    Vec way, nothing = vec(0, 0, 0);
    double u, v, distance, share, facing;
    pair(random, &u, &v);

    if (light->shape == SPHERE) {
        /* A direction within the cone that the sphere fills. */
        Vec to = sub(light->at, point), a, b;
        double square = dot(to, to), r = light->radius, edge, down, s, c;
        if (square <= r * r)
            return nothing;
        edge = sqrt(1 - r * r / square);
        to = unit(to);
        a = unit(cross(to, to.x * to.x > 0.5 ? vec(0, 1, 0) : vec(1, 0, 0)));
        b = cross(to, a);
        down = 1 - u * (1 - edge);
        on_circle(v, &s, &c);
        way = add(scale(to, down), scale(add(scale(a, c), scale(b, s)), sqrt(1 - down * down)));
        way = unit(way);
        distance = meet(light, point, way, 1e30);
        if (distance == 1e30) /* rounding, at the very edge */
            distance = sqrt(square) - r;
        share = 2 * (1 - edge); /* of the hemisphere, with the 1/pi of a dull surface */
    } else {
        Vec on = add(light->at, add(scale(light->side, u), scale(light->other, v)));
        Vec to = sub(on, point);
        double square = dot(to, to), shown;
        distance = sqrt(square);
        way = scale(to, 1 / distance);
        shown = -dot(way, light->normal);
        if (shown <= 0) /* a rectangle shines to its front only */
            return nothing;
        share = light->area * shown / square * 0.3183098861837907;
        if (share > 4)
            share = 4;
    }
    facing = dot(way, normal);
    if (facing <= 0 || is_dark(scene, point, way, distance * (1 - 1e-6)))
        return nothing;
    return scale(scene->materials[light->material].colour, share * facing);
}

static Vec sky(const Scene *scene, Vec way)
{
    double high = way.y > 0 ? sqrt(way.y) : 0;
    return add(scale(scene->horizon, 1 - high), scale(scene->zenith, high));
}

/* How much a clear surface reflects (Schlick). */
static double mirrored(double cosine, double index)
{
    double base = (1 - index) / (1 + index), rest = 1 - cosine;
    base *= base;
    return base + (1 - base) * rest * rest * rest * rest * rest;
}

static Vec reflected(Vec way, Vec normal)
{
    return sub(way, scale(normal, 2 * dot(way, normal)));
}

/* The way through glass, and how much goes off it instead: all of it if there is no way. */
static Vec refracted(Vec way, Vec normal, double index, int outside, double *off)
{
    double ratio = outside ? 1 / index : index;
    double cosine = -dot(way, normal), under = 1 - ratio * ratio * (1 - cosine * cosine);
    double leaving;
    *off = 1;
    if (under <= 0)
        return way;
    leaving = sqrt(under);
    *off = mirrored(outside ? cosine : leaving, index);
    return unit(add(scale(way, ratio), scale(normal, ratio * cosine - leaving)));
}

/* The light that comes along one path. At the first thing it meets, bounce 0, a clear surface
 * splits it in two, since the eye sees the noise of a choice there. */
static Vec follow(const Scene *scene, Vec from, Vec way, uint32_t bounce, Random *random)
{
    Vec sum = vec(0, 0, 0), strength = vec(1, 1, 1);
    int counts_lights = 1; /* not after a dull surface, which has asked them itself */
    int was_dull = 0;
    double travelled = 0;
    uint32_t i;

    for (; bounce <= scene->depth_max; bounce++) {
        double distance, off, facing, u, v;
        const Thing *thing = nearest(scene, from, way, &distance);
        const Material *material;
        Vec point, normal, colour, light;
        int outside;

        if (!thing)
            return add(sum, mul(strength, sky(scene, way)));
        material = &scene->materials[thing->material];
        point = add(from, scale(way, distance));
        normal = thing->shape == SPHERE ? scale(sub(point, thing->at), 1 / thing->radius)
                                        : thing->normal;
        outside = dot(way, normal) < 0;
        if (material->kind == LIGHT) {
            if (!counts_lights || (thing->shape == RECTANGLE && !outside))
                return sum;
            light = material->colour;
            /* A light seen by way of a dull surface and then glass or metal is a rare find of
             * one path: its full brightness would be a speck, not a picture. */
            if (was_dull && largest(light) > 2)
                light = scale(light, 2 / largest(light));
            return add(sum, mul(strength, light));
        }
        if (!outside)
            normal = scale(normal, -1);
        facing = -dot(way, normal);
        travelled += distance;
        colour = colour_at(material, thing, point, normal,
                           travelled * scene->half_height * 2 / scene->height / (facing + 1e-9));

        from = point;
        counts_lights = 1;
        if (material->kind == METAL) {
            Vec mirror = reflected(way, normal);
            if (material->amount > 0) {
                /* Roughness: towards a random point of a small ball at the mirror's. */
                Vec ball = around(mirror, random);
                mirror = unit(add(scale(mirror, 1 - material->amount),
                                  scale(ball, material->amount)));
                if (dot(mirror, normal) <= 0)
                    return sum;
            }
            way = mirror;
            strength = mul(strength, colour);
        } else if (material->kind == GLASS) {
            Vec through = refracted(way, normal, material->amount, outside, &off);
            if (!outside)
                strength = mul(strength, colour);
            if (bounce == 0) {
                Vec side = follow(scene, from, reflected(way, normal), 1, random);
                sum = add(sum, mul(strength, scale(side, off)));
                strength = scale(strength, 1 - off);
                way = through;
            } else {
                pair(random, &u, &v);
                way = u < off ? reflected(way, normal) : through;
            }
        } else {
            if (material->kind == GLOSSY) {
                off = mirrored(facing, 1.5);
                if (bounce == 0) {
                    Vec side = follow(scene, from, reflected(way, normal), 1, random);
                    sum = add(sum, mul(strength, scale(side, off)));
                    strength = scale(strength, 1 - off);
                } else {
                    pair(random, &u, &v);
                    if (u < off) {
                        way = reflected(way, normal);
                        continue;
                    }
                }
            }
            strength = mul(strength, colour);
            light = vec(0, 0, 0);
            for (i = 0; i < scene->light_count; i++)
                light = add(light, light_from(scene, &scene->things[scene->lights[i]], point,
                                              normal, random));
            sum = add(sum, mul(strength, light));
            way = around(normal, random);
            counts_lights = 0;
            was_dull = 1;
        }

        /* A faint path ends by chance, and the others of its kind count for more. */
        if (bounce >= 2) {
            double chance = largest(strength);
            if (chance < 0.5) {
                chance = chance < 0.05 ? 0.05 : chance * 2;
                if (uniform(random) >= chance)
                    return sum;
                strength = scale(strength, 1 / chance);
            }
        }
    }
    return sum;
}

/* ---- pixels ------------------------------------------------------------------------------ */

static Vec pixel(const Scene *scene, uint32_t x, uint32_t y)
{
    Vec sum = vec(0, 0, 0);
    Random random;
    uint32_t path;

    memset(&random, 0, sizeof random);
    random.pattern = scramble(y * 65537u + scramble(x));
    random.state = (uint64_t)random.pattern << 32 | (y * 65536u + x);
    random.columns = 1;
    while ((random.columns + 1) * (random.columns + 1) <= scene->samples)
        random.columns++;
    random.rows = scene->samples / random.columns;

    for (path = 0; path < scene->samples; path++) {
        double u, v, s, c, a, b;
        Vec way, from = scene->eye;
        random.path = path;
        random.pair = 0;

        pair(&random, &u, &v);
        a = ((x + u) / scene->width * 2 - 1) * scene->half_width;
        b = (1 - (y + v) / scene->height * 2) * scene->half_height;
        way = add(scene->forward, add(scale(scene->right, a), scale(scene->up, b)));

        pair(&random, &u, &v);
        if (scene->lens > 0) {
            Vec shift;
            on_circle(v, &s, &c);
            u = sqrt(u) * scene->lens;
            shift = add(scale(scene->right, u * c), scale(scene->up, u * s));
            from = add(from, shift);
            way = sub(scale(way, scene->focus), shift);
        }
        sum = add(sum, follow(scene, from, unit(way), 0, &random));
    }
    return scale(sum, scene->exposure / scene->samples);
}

/* Brightness to a byte: a film-like curve (Narkowicz, ACES) that lets bright colours fade to
 * white instead of cutting them off, then gamma 2. */
static unsigned char to_byte(double light)
{
    double film = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14);
    if (!(film > 0))
        return 0;
    return film >= 1 ? 255 : (unsigned char)(sqrt(film) * 255 + 0.5);
}

static void render(const Scene *scene, unsigned char *out)
{
    uint32_t row, column;
    for (row = 0; row < scene->rows; row++)
        for (column = 0; column < scene->columns; column++) {
            Vec light = pixel(scene, scene->x + column, scene->y + row);
            *out++ = to_byte(light.x);
            *out++ = to_byte(light.y);
            *out++ = to_byte(light.z);
        }
}

/* ---- the compute core -------------------------------------------------------------------- */

int32_t worker_init(int32_t version)
{
    return version == FARCALL_CORE_API_VERSION ? 0 : 1;
}

int32_t worker_run_job(uint64_t size, void *data, uint64_t *outsize, void **outdata)
{
    Reader reader = {data, (const unsigned char *)data + size, 0};
    Scene scene;
    int32_t code;

    memset(&scene, 0, sizeof scene);
    code = read_scene(&reader, &scene);
    if (code == 0) {
        uint64_t bytes = (uint64_t)scene.columns * scene.rows * 3;
        unsigned char *pixels = malloc(bytes + 1);
        if (pixels) {
            render(&scene, pixels);
            *outdata = pixels;
            *outsize = bytes;
        } else {
            code = 2;
        }
    }
    free(scene.materials);
    free(scene.things);
    free(scene.lights);
    return code;
}

void worker_free_outdata(uint64_t size, void *outdata)
{
    (void)size;
    free(outdata);
}
