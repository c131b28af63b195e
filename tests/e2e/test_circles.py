"""tests/support/count_circles.py: finds the circle that is there, and none that is not."""

import subprocess
import sys

from support.count_circles import largest_circle
from support.process import REPO

CIRCLE = {
    "a.c": """
        #include "b.h" /* a comment over
                          two lines { */
        static int helper(int n) { return n; }
        static int twice(int n)
        {
            return helper(n) + b_of("}") + '{';
        }
        int a_of(int n) { return n > 0 ? twice (n - 1) : 0; }
        """,
    "b.c": """
        static const struct ops { int (*step)(int); } ops = {.step = step};
        __attribute__((pure)) int b_of(const char *s) { if (s[0]) { return c_of(1); } return helper(0); }
        static int helper(int n) { return ops.step(n); }
        static int step(int n) { return b_of("\\"{"); } /* b_of reaches it through a pointer alone */
        """,
    "c.h": "static inline int c_of(int n) { return a_of(n); }",
}


def names(sources: dict) -> list:
    return [f"{function.file}:{function.name}" for function in largest_circle(sources)]


def test_a_circle_over_three_files():
    assert names(CIRCLE) == ["a.c:a_of", "a.c:twice", "b.c:b_of", "c.h:c_of"]


def test_no_circle_where_one_arrow_is_missing():
    assert names({**CIRCLE, "c.h": "static inline int c_of(int n) { return 0; /* a_of(n) */ }"}) == []


def test_the_largest_of_several():
    pair = "int p(void) { q(); } int q(void) { p(); }"
    assert names({"d.c": pair, "e.c": "static void again(int n) { again(n - 1); }"}) == ["d.c:p", "d.c:q"]
    assert names({"e.c": "static void again(int n) { again(n - 1); }"}) == ["e.c:again"]
    assert len(names({**CIRCLE, "d.c": pair})) == 4


def test_static_functions_are_their_own_files():
    assert names({"f.c": "static void x(void) { y(); }", "g.c": "void y(void) { x(); }"}) == []


def test_a_long_chain():
    chain = "".join(f"void f{n}(void) {{ f{(n + 1) % 3000}(); }}\n" for n in range(3000))
    assert len(names({"h.c": chain})) == 3000


def test_the_exit_code_says_whether_it_is_too_large(tmp_path):
    for name, source in CIRCLE.items():
        (tmp_path / name).write_text(source)
    script = REPO / "tests" / "support" / "count_circles.py"
    for most, code in ((), 0), (("4",), 0), (("3",), 1):
        done = subprocess.run([sys.executable, script, tmp_path, *most], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert f"{tmp_path}/a.c: twice\n" in done.stdout
        assert done.stdout.endswith(f"the largest has 4 functions, in 3 files of {tmp_path}\n")
