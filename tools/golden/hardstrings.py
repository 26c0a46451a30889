"""The corpus of hard strings for tokenizer tests, the same on every run: each Unicode block, emoji
sequences, code, runs of spaces and newlines, mixed scripts, digits, control characters."""
import random

PLAIN = [
    "", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\r\n\r\n", "\t", "\t\t", " \n", "\n ", " \n ", "  \n\n  \n",
    "\u00a0", "\u3000", "\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "a", "a b", "a  b", "a   b", "a\nb",
    "a \n b", "a\n\n\nb", "a \t b", " a", "  a", "a ", "a  ", "a   \n", "\ta", "\u3000\u3000a", "x\u00a0y",
    "Hello, world!", "The quick brown fox jumps over the lazy dog.", "  leading", "trailing   ",
    "    int x = 10;\n    return x;\n", "foo();\n\n\nbar();", "1234567890", "3.14159", "x=1,y=22,z=333",
    "12 345 6789 0", "1,000,000.00", "1e-5", "0x1F", "don't we're I'LL HE'S 'tis 'Twas it'd we'Ve",
    "'\u017f '\u017fo I'\u017f", "l'ete", "''s '' 's", "'", "' s", "rock'n'roll", "O'Reilly", "'re've'll",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u6df1\u5ea6\u6c42\u7d22 DeepSeek-V3 \u6a21\u578b\u3002\u6211\u4eec123\u4e2a",
    "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c\u30ab\u30bf\u30ab\u30ca\u30fc", "\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440", "na\u00efve caf\u00e9", "e\u0301 combining o\u0302\u0323", "\u0301", " \u0301a",
    "\u0301\u0301 \u0301", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e", "\u0661\u0662\u0663\u0664\u0665", "\u00bd \u00b2 \u2167 \u2460", "\U0001d7d8\U0001d7d9\U0001d7da\U0001d7db",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd \u2764\ufe0f",
    "a\u200bb\u200d\u200cc\ufeffd\u2060", "\x00", "a\x00b", "\x01\x02\x03\x04\x06\x13\x14\x16\x1d", "\x7f\x80\x9f\xad", "\x1b[31mred\x1b[0m",
    "#include <stdio.h>\r\nint main(){}\r\n", "_snake_case __init__ camelCase PascalCase", "$100 + \u20ac50 = \u00a5",
    "http://a.b/c?d=e&f=g#h", "me@example.org", "!word ?x /path \\frac{1}{2}", ">;\n", "`code` **bold** ~~x~~",
    "{\"a\": [1, 2, 3], \"b\": null}", "<think>\n</think>\n\n", "...!!!???", "---", "a---b", "(((x)))", "<<<>>>",
    "!a!b!c", ".net @user #tag", "-x --long-option", "'quoted' \"double\"", "\u201cquotes\u201d \u2018x\u2019 \u2014 \u2026",
    "\uff01\uff0f\uff1a\uff5e\u3000\u3001\u3002", "\uff21\uff22\uff43 \uff11\uff12\uff13", "\ufb01\ufb02 \u01c4 \u0294 \u01bb", "a\u0300\u0301\u0302\u0303b",
    "def f(x):\n\treturn x  # comment\n\n\nclass A:\n    pass\n", "for (i = 0; i < n; i++) { a[i] += b[i]; }",
    "SELECT * FROM t WHERE a='b' AND c>=1;", "|a|b|\n|-|-|\n|1|2|\n", "- item\n  - sub\n\n1. one\n2. two\n",
    "\u4e2d\u6587English\u6df7\u5408 \u65e5\u672c\u8a9e\u3068\u82f1\u8a9e mixed \u0440\u0443\u0441 \ud55c", "\u9fa5\u9fa6\u3400\U00020000", "\u3040\u309f\u30a0\u30ff\u3105",
    "\u0800\u07ff\uabff\uac00\ud7a3\ud7ff\ue000\uf8ff\ufffd\uffff\U0010ffff", "\u1680\u2000\u2003\u200a\u202f\u205f x",
    "  \u3000 \n\u2028\n x", "x \r y \r\n z \n\r w", "\n \n \n", " \n\n a", "a\r", "\r\r\n", "5   5", "5 \n 5", "\u2029 \u20295",
    "   \u4f60 \u597d  ", "\u4f60\u597d 123 \u4f60\u597d\n", "1\u4f602\u597d3", "x\u00b2y\u00b3", "A\u0661B\u09e7C", "  ...  ", " . . . ", ". \n. ",
]

ALPHABET = list("  \t\n\r\n  aZeé'.,;!?-_/\\(){}[]<>=+*&^%$#@~`|\"0123456789sStTmMdDlLrRvVeE") + [
    "\u00a0", "\u3000", "\u2003", "\u0085", "\u2028", "\x0b", "\u017f", "\u4e00", "\u9fa5", "\u6587", "\u3042", "\u30ab",
    "\uac00", "\u0416", "\u0434", "\u0301", "\u0327", "\u0e31", "\u0661", "\u00bd", "\u2160", "\u20ac", "\u2211", "\u2018",
    "\u2019", "\u3002", "\uff01", "\uff0c", "\u200d", "\u200b", "\x00", "\x1f", "\x7f", "\U0001f600", "\U0001f468", "\U00020000",
    "\ue000", "\u01c5", "\u02b0", "\u0640", "\u07ff", "\u0800", "\u0939", "\u094d", "\ufffd", "\U000e0041", "\u00aa", "\u00b5",
]


def random_strings(n, seed):
    rng = random.Random(seed)
    for _ in range(n):
        runs = []
        for _ in range(rng.randint(1, 9)):
            runs.append(rng.choice(ALPHABET) * (1 if rng.random() < 0.7 else rng.randint(2, 5)))
        yield "".join(runs)


def blocks(step):
    """One string for each page of 256 code points that has characters, in the contexts that matter."""
    import unicodedata
    for page in range(0, 0x110000, 256):
        points = [c for c in range(page, page + 256)
                  if not 0xD800 <= c < 0xE000 and unicodedata.category(chr(c)) not in ("Cn", "Co")]
        if points:
            some = [chr(c) for c in points[::max(1, len(points) // step)]][:step]
            yield "a" + "".join(some) + " " + some[0] + "1" + some[-1] + " b" + some[len(some) // 2] + "\n"


def every_point():
    for c in range(0x110000):
        if not 0xD800 <= c < 0xE000:
            ch = chr(c)
            yield f"a{ch}b {ch} {ch}{ch}1{ch}\n{ch}."


def long_strings():
    return [" " * 300 + "x", "\n" * 200, "ab" * 400, "\u4f60\u597d" * 200, "1" * 257, "\U0001f600" * 60, "x" + " \n" * 150 + "y",
            "-" * 333, "\u0301" * 300, "Aa" * 100 + "." * 100, "the " * 150]


def hard_strings():
    return PLAIN + long_strings() + list(blocks(5)) + list(random_strings(700, 1))
