/* CartPole-v1 as Gymnasium moves it, played by policy.h. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>

#include "policy.h"

#define GAMES 1000
#define LONGEST 500

static double drawn(void) { /* in [-0.05, 0.05), by xorshift64* */
    static uint64_t state = 88172645463325252u;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (double)((state * 2685821657736338717u) >> 11) / 9007199254740992.0 * 0.1 - 0.05;
}

static int game(void) {
    const double gravity = 9.8, pole = 0.1, mass = 1.1, half = 0.5, force = 10.0, tau = 0.02, limit = 12 * 2 * 3.141592653589793 / 360;
    double x = drawn(), v = drawn(), angle = drawn(), spin = drawn();
    for (int step = 1; step <= LONGEST; step++) {
        const float seen[POLICY_OBSERVATION] = {(float)x, (float)v, (float)angle, (float)spin};
        const double push = policy_act(seen) ? force : -force;
        const double part = (push + pole * half * spin * spin * sin(angle)) / mass;
        const double turn = (gravity * sin(angle) - cos(angle) * part) / (half * (4.0 / 3.0 - pole * cos(angle) * cos(angle) / mass));
        const double pull = part - pole * half * turn * cos(angle) / mass;
        x += tau * v;
        v += tau * pull;
        angle += tau * spin;
        spin += tau * turn;
        if (fabs(x) > 2.4 || fabs(angle) > limit) return step;
    }
    return LONGEST;
}

int main(void) {
    int sum = 0, least = LONGEST, whole = 0;
    for (int played = 0; played < GAMES; played++) {
        const int score = game();
        sum += score;
        whole += score == LONGEST;
        if (score < least) least = score;
    }
    printf("%d games: mean return %.1f, least %d, %d of them to the end\n", GAMES, (double)sum / GAMES, least, whole);
    return 0;
}
