// What the highlighter knows of each language: rules [pattern, class, end?, "raw" | "line"?] tried in order,
// keywords, and names of types and built-ins. A rule with an end opens a string or comment that goes on to it;
// "line": no further than its line; "raw": a backslash is no escape.

const words = (text) => new Set(text.trim().split(/\s+/));
const make = (keywords, types, rules, more = {}) =>
    ({ keywords: words(keywords), types: words(types), rules, ...more });

const SLASHES = [/\/\/.*/y, "c"];
const STARS = [/\/\*/y, "c", "*/", ["raw"]];
const HASH = [/#.*/y, "c"];
const DASHES = [/--.*/y, "c"];
const DOUBLE = [/"/y, "s", "\"", ["line"]];
const SINGLE = [/'/y, "s", "'", ["line"]];
const BACKTICK = [/`/y, "s", "`"];
const CHARACTER = [/'(?:\\.[^']*|[^'\\])'/y, "s"];
const ANNOTATION = [/@[\w.]+/y, "m"];

const C_WORDS = `
    auto break case const continue default do else enum extern for goto if inline register restrict
    return sizeof static struct switch typedef union volatile while _Alignas _Atomic _Generic
    _Static_assert static_assert NULL true false`;
const C_TYPES = `
    void char short int long float double signed unsigned bool size_t ssize_t ptrdiff_t FILE int8_t
    int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t intptr_t uintptr_t wchar_t _Bool`;
const C_RULES = [SLASHES, STARS, [/^\s*#\s*\w+(?:\s*<[^>]*>)?/y, "m"], DOUBLE, CHARACTER];

const JS_WORDS = `
    async await break case catch class const continue debugger default delete do else export extends
    finally for from function get if import in instanceof let new of return set static super switch this
    throw try typeof var void while with yield null undefined true false`;
const JS_TYPES = `
    Array Boolean Date Error Function JSON Map Math Number Object Promise Proxy RegExp Set String Symbol
    WeakMap console document window globalThis`;
const JS_RULES = [SLASHES, STARS, BACKTICK, DOUBLE, SINGLE, ANNOTATION,
    [/(?<=(?:^|[=(,:;!&|?{}]|return)\s*)\/(?![/*])(?:\\.|\[(?:\\.|[^\]])*\]|[^/\\[])+\/[a-z]*/y, "s"]];

const c = make(C_WORDS, C_TYPES, C_RULES);
const cpp = make(`
    ${C_WORDS} alignas catch class co_await co_return co_yield concept const_cast consteval constexpr
    constinit decltype delete dynamic_cast explicit export final friend import module mutable namespace
    new noexcept nullptr operator override private protected public reinterpret_cast requires
    static_cast template this throw try typeid typename using virtual __global__ __device__ __shared__
    __host__`,
`${C_TYPES} string vector map set pair tuple array unique_ptr shared_ptr optional variant string_view
    std`,
[[/R"([^(\s]*)\(/y, "s", ")$1\"", ["raw"]], ...C_RULES], { capitals: true });
const javascript = make(JS_WORDS, JS_TYPES, JS_RULES);
const typescript = make(`
    ${JS_WORDS} abstract as declare enum implements infer interface is keyof namespace private protected
    public readonly satisfies type`,
    `${JS_TYPES} any boolean never number object string symbol unknown bigint Record Partial Readonly
    Pick Omit`, JS_RULES, { capitals: true });
const python = make(`
    and as assert async await break case class continue def del elif else except finally for from global
    if import in is lambda match nonlocal not or pass raise return try while with yield None True False`,
`int float str bool bytes list dict set tuple frozenset object type range print len super self cls
    enumerate zip map filter sorted open isinstance Exception ValueError TypeError KeyError property
    staticmethod classmethod`,
[HASH, [/[fFbBuU]?"""/y, "s", "\"\"\""], [/[fFbBuU]?'''/y, "s", "'''"], [/[rR][fFbB]?"""/y, "s", "\"\"\"",
    ["raw"]],
    [/[fFbBrRuU]{0,2}"/y, "s", "\"", ["line"]], [/[fFbBrRuU]{0,2}'/y, "s", "'", ["line"]], ANNOTATION]);
const json = make("true false null", "", [SLASHES, STARS, [/"(?:\\.|[^"\\])*"(?=\s*:)/y, "a"], DOUBLE]);
const bash = make(`
    if then elif else fi for while until do done case esac in function select return break continue exit
    local export declare readonly unset shift trap source eval exec set`,
`echo printf read cd pwd ls cat grep sed awk find xargs sort uniq head tail cut tr mkdir rm cp mv ln
    chmod chown curl wget git make sudo apt apt-get docker python3 pip npm test kill wait sleep tar ssh`,
[[/(?<=^|\s)#.*/y, "c"], [/\$'/y, "s", "'"], [/"/y, "s", "\""], [/'/y, "s", "'", ["raw"]],
    [/\$(?:\w+|\{[^}]*\}|[@#?$!*-])/y, "a"], [/(?<=\s)--?[\w-]+/y, "m"]], { calls: false });
const rust = make(`
    as async await break const continue crate dyn else enum extern fn for if impl in let loop match mod
    move mut pub ref return self Self static struct super trait type union unsafe use where while true
    false`,
`bool char str u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 String Vec Option Some
    None Result Ok Err Box Rc Arc HashMap`, [SLASHES, STARS, [/r(#*)"/y, "s", "\"$1", ["raw"]], [/b?"/y, "s",
    "\""], CHARACTER,
    [/#!?\[[^\]]*\]/y, "m"], [/\w+!(?=[([{\s])/y, "f"], [/'\w+/y, "a"]], { capitals: true });
const go = make(`
    break case chan const continue default defer else fallthrough for func go goto if import interface
    map package range return select struct switch type var nil true false iota`,
`bool byte rune string error any int int8 int16 int32 int64 uint uint8 uint16 uint32 uint64 uintptr
    float32 float64 complex64 complex128 make new len cap append copy close delete panic recover`,
[SLASHES, STARS, [/`/y, "s", "`", ["raw"]], DOUBLE, CHARACTER]);
const java = make(`
    abstract assert break case catch class const continue default do else enum extends final finally for
    goto if implements import instanceof interface native new package permits private protected public
    record return sealed static strictfp super switch synchronized this throw throws transient try var
    volatile while yield null true false`,
"boolean byte char double float int long short void String Object",
[SLASHES, STARS, [/"""/y, "s", "\"\"\""], DOUBLE, CHARACTER, ANNOTATION], { capitals: true });
const kotlin = make(`
    as break by catch class companion const constructor continue data do else enum final finally for fun
    get if import in init inline interface internal is lateinit null object open operator out override
    package private protected public return sealed set super suspend this throw try typealias val var
    vararg when where while true false`,
    `Any Boolean Byte Char Double Float Int Long Short String Unit List Map Set`,
[SLASHES, STARS, [/"""/y, "s", "\"\"\""], DOUBLE, CHARACTER, ANNOTATION], { capitals: true });
const swift = make(`
    actor as associatedtype async await break case catch class continue default defer deinit do else
    enum extension fallthrough fileprivate for func guard if import in init inout internal is lazy let
    mutating nil open operator override private protocol public repeat rethrows return self Self some
    static struct subscript super switch throw throws try typealias var weak where while true false`,
`Any Bool Character Double Float Int String Array Dictionary Optional Set Void print`,
[SLASHES, STARS, [/"""/y, "s", "\"\"\""], DOUBLE, ANNOTATION, [/#\w+/y, "m"]], { capitals: true });
const csharp = make(`
    abstract as async await base break case catch checked class const continue default delegate do else
    enum event explicit extern false finally fixed for foreach get goto if implicit in init interface
    internal is lock namespace new null operator out override params private protected public readonly
    record ref return sealed set sizeof static struct switch this throw true try typeof unchecked unsafe
    using var virtual void volatile when where while yield`,
    `bool byte char decimal double dynamic float int long object short string uint ulong`,
[SLASHES, STARS, [/[$@]*@[$@]*"/y, "s", "\"", ["raw"]], [/\$?"/y, "s", "\"", ["line"]], CHARACTER,
    [/^\s*#\w+/y, "m"]], { capitals: true });
const php = make(`
    abstract and array as break callable case catch class clone const continue declare default do echo
    else elseif empty enum extends final finally fn for foreach function global if implements include
    instanceof interface isset list match namespace new or print private protected public readonly
    require require_once return static switch throw trait try unset use var while yield null true false`,
    "int float string bool void mixed self parent",
[SLASHES, STARS, HASH, [/<\?(?:php|=)?|\?>/y, "m"], [/"/y, "s", "\""], [/'/y, "s", "'"], [/\$\w+/y, "a"]]);
const ruby = make(`
    alias and begin break case class def defined? do else elsif end ensure for if in module next not or
    redo rescue retry return self super then undef unless until when while yield nil true false require
    attr_accessor attr_reader private protected public raise`,
    "puts print Array Hash Integer Float String Symbol",
[HASH, [/^=begin/y, "c", "=end", ["raw"]], DOUBLE, SINGLE, [/:\w+/y, "a"], [/@{1,2}\w+/y, "a"]],
    { calls: false });
const sql = make(`
    select from where insert into values update set delete create table index view drop alter add column
    primary foreign key references not null unique default check constraint join inner left right full
    outer cross on using group by order having limit offset union all distinct as and or in is like
    between exists case when then else end asc desc with recursive over partition begin commit rollback
    if replace returning true false`,
`int integer bigint smallint serial text varchar char boolean date time timestamp numeric decimal
    real float double blob json jsonb uuid count sum avg min max coalesce`, [DASHES, STARS, [/'/y, "s", "'",
    ["raw"]], DOUBLE],
{ ignoreCase: true, calls: false });
const html = make("", "", [[/<!--/y, "c", "-->", ["raw"]], [/<![^>]*>/y, "m"], [/<\/?[\w:-]+|\/?>/y, "k"],
    [/[\w:@.-]+(?=\s*=\s*["'])/y, "a"], [/(?<==\s*)"/y, "s", "\"", ["raw"]], [/(?<==\s*)'/y, "s", "'",
    ["raw"]],
    [/&#?\w+;/y, "n"], [/[^<>&\s="']+/y, ""]], { calls: false });
const css = make("important and not only from to", "", [STARS, DOUBLE, SINGLE, [/@[\w-]+/y, "m"],
    [/--[\w-]+/y, "a"], [/[\w-]+(?=\s*:\s)/y, "a"], [/[.#]?-?[\p{L}_][\w-]*(?=[^;{}]*[{,]|\s*$)/uy, "t"],
    [/#[\da-fA-F]{3,8}\b/y, "n"],
    [/-?[\p{L}_][\w-]*/uy, ""]], { calls: false });
const yaml = make("true false null yes no on off", "", [[/(?<=^|\s)#.*/y, "c"], [/^---.*|^\.\.\./y, "m"],
    [/[\w./-][\w ./-]*(?=:(?:\s|$))/y, "a"], DOUBLE, [/'/y, "s", "'", ["raw", "line"]], [/[&*!][\w!-]+/y,
    "m"],
    [/[\p{L}_][^\s:#,\]}]*/uy, ""]], { calls: false });
const ini = make("true false", "", [HASH, [/;.*/y, "c"], [/^\s*\[.*\]/y, "k"], [/^[\w."-]+(?=\s*=)/y, "a"],
    [/"""/y, "s", "\"\"\""], DOUBLE, SINGLE], { calls: false });
const lua = make(`
    and break do else elseif end false for function goto if in local nil not or repeat return then true
    until while`,
    `print pairs ipairs type tostring tonumber table string math io os require setmetatable self`,
    [[/--\[(=*)\[/y, "c", "]$1]", ["raw"]], DASHES, [/\[(=*)\[/y, "s", "]$1]", ["raw"]], DOUBLE, SINGLE]);
const r = make(`
    if else repeat while function for in next break TRUE FALSE NULL NA Inf NaN library require return`,
    "c list data.frame matrix vector factor", [HASH, DOUBLE, SINGLE, [/<-|->|%\w*%/y, "k"]]);
const haskell = make(`
    case class data default deriving do else forall foreign if import in infix infixl infixr instance
    let module newtype of qualified then type where`, "", [DASHES, [/\{-/y, "c", "-}",
    ["raw"]], DOUBLE, CHARACTER],
{ capitals: true, calls: false });
const scala = make(`
    abstract case catch class def do else enum extends final finally for given if implicit import lazy
    match new object override package private protected return sealed super then this throw trait try
    type using val var while with yield null true false`, "Int Long Double Float Boolean String Unit Any",
    [SLASHES, STARS,
    [/s?"""/y, "s", "\"\"\""], [/[sf]?"/y, "s", "\"", ["line"]], CHARACTER, ANNOTATION], { capitals: true });
const zig = make(`
    align allowzero and anyframe asm async await break catch comptime const continue defer else enum
    errdefer error export extern fn for if inline noalias or orelse packed pub resume return struct
    suspend switch test threadlocal try union unreachable usingnamespace var volatile while null
    undefined true false`,
`bool u8 u16 u32 u64 usize i8 i16 i32 i64 isize f16 f32 f64 void type anytype`, [SLASHES, DOUBLE, CHARACTER,
    [/\\\\.*/y, "s"], [/@\w+/y, "f"]]);
const perl = make(`
    my our local sub if elsif else unless while until for foreach do return last next redo use no
    package require and or not eq ne lt gt le ge cmp print`, "", [HASH, [/"/y, "s", "\""], SINGLE,
    [/[$@%]\w+/y, "a"]]);
const makefile = make(`ifeq ifneq ifdef ifndef else endif include define endef export override`, "", [HASH,
    [/^[\w./%$(){} -]+(?=\s*:(?!=))/y, "f"], [/\$[({][^)}]*[)}]|\$[@<^*%]/y, "a"], DOUBLE, SINGLE],
    { calls: false });
const dockerfile = make(`
    from run cmd label expose env add copy entrypoint volume user workdir arg onbuild stopsignal
    healthcheck shell as`, "", [HASH, DOUBLE, SINGLE, [/\$\{?\w+\}?/y, "a"], [/(?<=\s)--[\w-]+/y, "m"]],
{ ignoreCase: true, calls: false });
const latex = make("", "", [[/%.*/y, "c"], [/\\(?:begin|end)\{[^}]*\}/y, "k"], [/\\[A-Za-z@]+\*?|\\./y, "f"],
    [/\$[^$]*\$/y, "s"], [/[{}[\]]/y, "m"], [/[^\\%${}[\]\s]+/y, ""]], { calls: false });
const diff = { lines: [[/^(?:\+\+\+|---|diff|index)/, "m"], [/^@@/, "k"], [/^\+/, "plus"], [/^-/, "minus"]] };

const NAMES = new Map(Object.entries({ c, h: c, cpp,
    "c++": cpp, cc: cpp, cxx: cpp, hpp: cpp, cuda: cpp, cu: cpp, objc: cpp,
    javascript, js: javascript, jsx: javascript, mjs: javascript, node: javascript, typescript,
    ts: typescript,
    tsx: typescript, python, py: python, python3: python, json, jsonc: json, jsonl: json, bash, sh: bash,
    shell: bash,
    zsh: bash, console: bash, rust, rs: rust, go, golang: go, java, kotlin, kt: kotlin, swift, csharp,
    cs: csharp,
    "c#": csharp, php, ruby, rb: ruby, sql, sqlite: sql, postgresql: sql, mysql: sql, html, xml: html,
    svg: html,
    vue: html, svelte: html, css, scss: css, less: css, yaml, yml: yaml, toml: ini, ini, conf: ini, lua, r,
    haskell, hs: haskell, scala, zig, perl, pl: perl, make: makefile, makefile, dockerfile,
    docker: dockerfile, latex,
    tex: latex, diff, patch: diff }));

export function findLanguage(name) {
    return NAMES.get(name) ?? null;
}
