# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One text in each language, and all that is read of it."""

from __future__ import annotations

import pytest

from fedcode.corpus import LANGUAGES, MODULE, parse
from fedcode.corpus.files import cut
from fedcode.record import Metrics

PYTHON = """\
import os  # why


@cached
def größe(pfad, *, tief=True):
    # a comment
    for name in os.listdir(pfad):
        if name and tief:
            return größe(name)
    with open(pfad) as file:
        text = file.read()
    return len(text) if text else 0


class Box(Base):
    @property
    def full(self):
        assert self.limit
        raise Empty("nothing at all is in it")
"""

JAVA = """\
package a;

@Named
class Größe extends Base {
    private int size = 123456;

    /** Not a part of the method. */
    @Override
    public int add(String word, int... rest) throws IOException {
        if (word.isEmpty()) {
            throw new p.Empty("nothing at all");
        } else if (rest == null) {
            size += 'x';
        }
        /* two
           lines */
        for (int one : rest) { log(one); }
        return size > 1 ? other.<Integer>get() : 0;
    }

    Größe() { super(1); }
    abstract void open();
    enum Kind { A; Kind other() { synchronized (this) { return B; } } }
}
"""

JAVASCRIPT = """\
import x from 'y';
export class Box extends Base {
  size = () => 1;
  static async add(word, {kind}, ...rest) {
    try { await this.store?.put(word); } catch (error) { throw new Lost(`of ${word}`); }
  }
}
const first = async (x) => x.split(/[/"]+/g), n = 1;
exports.second = function (a) { while (a) { a--; if (a) continue; else if (n) break; } };
export default function main() { return list.map((x) => { return x + 1; }); }
list.forEach((x) => { done(x); });
const api = { get(key) { return key ?? 0; }, 'put': (key) => <b title="it's">{key}</b> };
"""

TYPESCRIPT = """\
namespace Shop {
  interface Item { price: number }
  type Prices = Map<string, number>;
  export abstract class Cart<T extends Item> {
    private items: T[] = [];
    @logged() public add(item: T, count?: number): void { this.items.push(item as T); }
    abstract total(): number;
    free = (item: T): boolean => item.price === 0;
  }
}
export const sum = <T>(list: T[]): number => list.length;
function over(x: string): void;
function over(x: any) { do { x = next<string>(x)!; } while (x); }
"""

C = """\
#include <stdio.h>
#define MAX(a, b) \\
    ((a) > (b) ? (a) : (b))
struct point { int x; };
int proto(int x);
static int *find(struct list *l, int key)
{
    // one
    switch (key) { case 0: goto out; default: break; }
    for (; l; l = l->next) if (l->cmp(key)) return &l->value;
out:
    return NULL;
}
#ifdef OLD
void nothing(void) { puts("a \\" quote"); }
#endif
"""

CPP = """\
namespace a::b {
template <typename T> class Box : public Base {
 public:
  explicit Box(int n) : n_(n) {}
  ~Box() { delete p; }
  bool operator==(const Box& o) const { return n_ == o.n_; }
  template <class U> void put(U u);
  int size() const = delete;
};
}  // namespace
template <typename T> template <class U> void a::b::Box<T>::put(U u) {
  try { std::sort<U>(u); auto f = [&](int x) { return x; }; } catch (...) { throw Bad(1'000'000); }
  for (auto& x : u) { if (x) { new Node(R"(raw " text)"); } }
}
"""

CSHARP = """\
using System;
namespace A.B
{
    [Serializable]
    public class Box<T> : Base
    {
        public int Size { get; set; }
        public int Twice => Size * 2;
        public Box(int n) : base(n) { Size = n; }
        [Test]
        public async Task<T> Add(string @name, int n = 1)
        {
            foreach (var x in list) { lock (this) { if (x > n) await Put<T>(x); } }
            using (var f = new File(@"C:\\")) { f?.Close(); }
            return n switch { 1 => throw new E(), _ => $"{name}" };
        }
        public static Box<T> operator +(Box<T> a, Box<T> b) { return a; }
    }
    interface IBox { void Open(); }
}
"""

GO = """\
package main

type Box[T any] struct{ items []T }

func (b *Box[T]) Add(x, y T, rest ...T) (int, error) {
	if n := len(b.items); n > 3 {
		return 0, errors.New("full")
	}
	defer b.mu.Unlock()
	for _, r := range rest {
		switch r {
		case 'x':
			fallthrough
		default:
			b.items[0] = Item{r}
		}
	}
	return 1, nil
}

func main() { go func() { done <- `raw
text` }() }

var shown = func(x int) string { return "" }
"""

RUST = """\
use a::b;
mod shop {
    /// Of it.
    #[derive(Debug)]
    pub struct Cart<'a> { items: &'a [u8] }
    impl<'a> fmt::Display for Cart<'a> {
        #[inline]
        // why
        #[must_use]
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            let mut n = 1_000_000;
            if let Some(x) = self.items.first() { n += 1; } else if n > 1 { return Err(Error); }
            loop { match n { 0 => break, _ => { write!(f, "{}", 'x')?; } } }
            Vec::<u8>::new(r#"a "raw" one"#)
        }
    }
    trait Priced { fn price(&self) -> u8; fn free(&self) -> bool { self.price() == 0 } }
}
"""

KOTLIN = """\
// a comment
fun add(a: Int) = "a long string of $a" + 12345 /* more */
"""

# Name; first, last and non-blank lines; tokens of the tree; parameters, branches, calls, returns,
# assignments and nesting; comments.
CASES = {
    "a.py": (
        PYTHON,
        [
            (
                "größe",
                (4, 12, 9),
                "d:größe f:for c:listdir f:if f:return c:größe f:with c:open c:read f:return c:len",
                (2, 3, 5, 2, 1, 2),
                [(6, 6)],
            ),
            ("Box.full", (16, 19, 4), "d:full f:assert f:throw c:Empty", (1, 0, 1, 0, 0, 0), []),
        ],
        "d:Box",
        2,
    ),
    "a.java": (
        JAVA,
        [
            (
                "Größe.add",
                (8, 19, 12),
                "d:add f:if c:isEmpty f:throw c:Empty f:if f:for c:log f:return c:get",
                (2, 4, 4, 1, 1, 1),
                [(15, 16)],
            ),
            ("Größe.Größe", (21, 21, 1), "d:Größe c:super", (0, 0, 1, 0, 0, 0), []),
            (
                "Größe.Kind.other",
                (23, 23, 1),
                "d:other f:synchronized f:return",
                (0, 0, 0, 1, 0, 1),
                [],
            ),
        ],
        "d:Größe d:open d:Kind",
        7,
    ),
    "a.jsx": (
        JAVASCRIPT,
        [
            ("Box.size", (3, 3, 1), "d:size", (0, 0, 0, 0, 0, 0), []),
            (
                "Box.add",
                (4, 6, 3),
                "d:add f:try c:put f:catch f:throw c:Lost",
                (3, 1, 2, 0, 0, 1),
                [],
            ),
            ("first", (8, 8, 1), "d:first c:split", (1, 0, 1, 0, 1, 0), []),
            (
                "second",
                (9, 9, 1),
                "d:second f:while f:if f:continue f:if f:break",
                (1, 3, 0, 0, 2, 2),
                [],
            ),
            ("main", (10, 10, 1), "d:main f:return c:map f:return", (0, 0, 1, 2, 0, 0), []),
            ("get", (12, 12, 1), "d:get f:return", (1, 0, 0, 1, 0, 0), []),
            ("put", (12, 12, 0), "d:put", (1, 0, 0, 0, 0, 0), []),
        ],
        "d:Box c:forEach c:done",
        4,
    ),
    "a.ts": (
        TYPESCRIPT,
        [
            ("Shop.Cart.add", (6, 6, 1), "c:logged d:add c:push", (2, 0, 2, 0, 0, 0), []),
            ("Shop.Cart.free", (8, 8, 1), "d:free", (1, 0, 0, 0, 0, 0), []),
            ("sum", (11, 11, 1), "d:sum", (1, 0, 0, 0, 1, 0), []),
            ("over", (13, 13, 1), "d:over f:do c:next", (1, 1, 1, 0, 1, 1), []),
        ],
        "d:Item d:Prices d:Cart",
        9,
    ),
    "a.c": (
        C,
        [
            (
                "find",
                (6, 13, 8),
                "d:find f:switch f:case f:goto f:case f:break f:for f:if c:cmp f:return f:return",
                (2, 4, 1, 2, 1, 2),
                [(8, 8)],
            ),
            ("nothing", (15, 15, 1), "d:nothing c:puts", (0, 0, 1, 0, 0, 0), []),
        ],
        "d:point",
        7,
    ),
    "a.cpp": (
        CPP,
        [
            ("a.b.Box.Box", (4, 4, 1), "d:Box", (1, 0, 0, 0, 0, 0), []),
            ("a.b.Box.~Box", (5, 5, 1), "d:~Box", (0, 0, 0, 0, 0, 0), []),
            ("a.b.Box.operator==", (6, 6, 1), "d:operator== f:return", (1, 0, 0, 1, 0, 0), []),
            (
                "a.b.Box.put",
                (11, 14, 4),
                "d:put f:try c:sort f:return f:catch f:throw c:Bad f:for f:if c:Node",
                (1, 3, 3, 1, 1, 2),
                [],
            ),
        ],
        "d:Box d:size",
        7,
    ),
    "a.cs": (
        CSHARP,
        [
            ("A.B.Box.Twice", (8, 8, 1), "d:Twice", (0, 0, 0, 0, 0, 0), []),
            ("A.B.Box.Box", (9, 9, 1), "d:Box", (1, 0, 0, 0, 1, 0), []),
            (
                "A.B.Box.Add",
                (10, 16, 7),
                (
                    "d:Add f:for f:synchronized f:if c:Put f:with c:File c:Close f:return f:switch "
                    "f:case f:throw c:E f:case"
                ),
                (2, 4, 4, 1, 1, 3),
                [],
            ),
            ("A.B.Box.+", (17, 17, 1), "d:+ f:return", (2, 0, 0, 1, 0, 0), []),
        ],
        "d:Box d:IBox d:Open",
        10,
    ),
    "a.go": (
        GO,
        [
            (
                "Box.Add",
                (5, 19, 15),
                (
                    "d:Add f:if c:len f:return c:New f:defer c:Unlock f:for f:switch f:case "
                    "f:fallthrough f:case c:Item f:return"
                ),
                (3, 4, 4, 2, 2, 2),
                [],
            ),
            ("main", (21, 22, 2), "d:main f:go", (0, 0, 0, 0, 0, 0), []),
            ("shown", (24, 24, 1), "d:shown f:return", (1, 0, 0, 1, 1, 0), []),
        ],
        "d:Box",
        2,
    ),
    "a.rs": (
        RUST,
        [
            (
                "shop.Cart.fmt",
                (7, 15, 9),
                (
                    "d:fmt f:if c:first f:if f:return c:Err f:while f:switch f:case f:break f:case "
                    "c:write f:return c:new"
                ),
                (2, 5, 4, 2, 2, 2),
                [(8, 8)],
            ),
            ("shop.Priced.free", (17, 17, 1), "d:free c:price", (1, 0, 1, 0, 0, 0), []),
        ],
        "d:shop d:Cart d:Priced",
        8,
    ),
}

TOKENS = [
    (
        "a.java",
        "Größe.add",
        (
            "@ Override public int add ( String word , int ... rest ) throws IOException { if ( "
            "word . isEmpty ( ) ) { throw new p . Empty ( <STR> ) ; } else if ( rest == null ) "
            "{ size += 'x' ; } for ( int one : rest ) { log ( one ) ; } return size > 1 ? other "
            ". < Integer > get ( ) : 0 ; }"
        ),
    ),
    ("a.jsx", "first", 'first = async ( x ) => x . split ( /[/"]+/g )'),
    (
        "a.ts",
        "Shop.Cart.add",
        (
            "@ logged ( ) public add ( item : T , count ? : number ) : void { this . items . "
            "push ( item as T ) ; }"
        ),
    ),
    ("a.c", "nothing", 'void nothing ( void ) { puts ( "a \\" quote" ) ; }'),
    (
        "a.c",
        "<module>",
        (
            "#include < stdio . h > #define MAX ( a , b ) ( ( a ) > ( b ) ? ( a ) : ( b ) ) "
            "struct point { int x ; } ; int proto ( int x ) ; #ifdef OLD #endif"
        ),
    ),
    (
        "a.cpp",
        "a.b.Box.put",
        (
            "template < typename T > template < class U > void a :: b :: Box < T > :: put ( U u "
            ") { try { std :: sort < U > ( u ) ; auto f = [ & ] ( int x ) { return x ; } ; } "
            "catch ( ... ) { throw Bad ( <NUM> ) ; } for ( auto & x : u ) { if ( x ) { new Node "
            '( R"(raw " text)" ) ; } } }'
        ),
    ),
    (
        "a.cs",
        "A.B.Box.Add",
        (
            "[ Test ] public async Task < T > Add ( string @name , int n = 1 ) { foreach ( var "
            "x in list ) { lock ( this ) { if ( x > n ) await Put < T > ( x ) ; } } using ( var "
            'f = new File ( @"C:\\" ) ) { f ?. Close ( ) ; } return n switch { 1 => throw new E '
            '( ) , _ => $"{name}" } ; }'
        ),
    ),
    ("a.go", "main", "func main ( ) { go func ( ) { done <- <STR> } ( ) }"),
    (
        "a.rs",
        "shop.Cart.fmt",
        (
            "# [ inline ] # [ must_use ] fn fmt ( & self , f : & mut Formatter < '_ > ) -> fmt "
            ":: Result { let mut n = <NUM> ; if let Some ( x ) = self . items . first ( ) { n "
            "+= 1 ; } else if n > 1 { return Err ( Error ) ; } loop { match n { 0 => break , _ "
            "=> { write ! ( f , \"{}\" , 'x' ) ? ; } } } Vec :: < u8 > :: new ( <STR> ) }"
        ),
    ),
    (
        "a.py",
        "größe",
        (
            "@ cached <NL> def größe ( pfad , * , tief = True ) : <NL> <IN> for name in os . "
            "listdir ( pfad ) : <NL> <IN> if name and tief : <NL> <IN> return größe ( name ) "
            "<NL> <DE> <DE> with open ( pfad ) as file : <NL> <IN> text = file . read ( ) <NL> "
            "<DE> return len ( text ) if text else 0 <NL> <DE>"
        ),
    ),
]


@pytest.mark.parametrize("path", CASES)
def test_functions_and_what_they_are_made_of(path):
    text, functions, rest, lines = CASES[path]
    *found, module = parse(path, text).records
    assert [
        (r.name, (r.first, r.last, r.lines), " ".join(r.ast), r.metrics, [*r.comments])
        for r in found
    ] == [
        (name, place, ast, Metrics(*metrics), comments)
        for name, place, ast, metrics, comments in functions
    ]
    assert (module.name, " ".join(module.ast), module.lines) == (MODULE, rest, lines)


@pytest.mark.parametrize(("path", "name", "tokens"), TOKENS)
def test_tokens(path, name, tokens):
    (record,) = [r for r in parse(path, CASES[path][0]).records if r.name == name]
    assert " ".join(record.tokens) == tokens


@pytest.mark.parametrize("path", CASES)
def test_every_token_has_a_record_and_a_line(path):
    text = CASES[path][0]
    file = parse(path, text)
    assert sorted(file.tokens) == sorted(t for r in file.records for t in r.tokens)
    reading = LANGUAGES[f".{path.partition('.')[2]}"].read(text)
    rows = text.split("\n")
    places = reading.places()
    assert len(places) == len(reading.tokens)
    assert list(places) == sorted(places)
    for token, line in zip(reading.tokens, places, strict=True):
        assert token.startswith("<") or token.split("\\")[0] in rows[line - 1]


@pytest.mark.parametrize("path", CASES)
def test_windows_line_ends_and_a_byte_order_mark_change_nothing(path):
    text = CASES[path][0]
    plain = cut(path, text.encode())
    assert cut(path, b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()) == plain


def test_other_languages_give_tokens():
    (record,) = parse("a.kt", KOTLIN).records
    assert (record.name, record.language, record.lines, record.ast) == (MODULE, "kotlin", 2, ())
    assert " ".join(record.tokens) == "fun add ( a : Int ) = <STR> + <NUM>"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.rb", "x = 'a' # why\n"),
        ("a.sh", "x = 'a' # why\n"),
        ("a.php", "x = 'a' /* why */ # why\n// why"),
        ("a.sql", "x = 'a' -- why\n"),
        ("a.lua", "x = --[[ why\nwhy ]] 'a'\n"),
        ("a.hs", "x = {- why -} 'a'\n"),
        ("a.ml", "x = (* why *) 'a'\n"),
        ("a.clj", "x = 'a' ; why\n"),
        ("a.erl", "x = 'a' % why\n"),
        ("a.scala", "x = 'a' // why\n"),
    ],
)
def test_comments_of_other_languages(path, text):
    assert parse(path, text).tokens == ("x", "=", "'a'")


def test_several_functions_of_a_name_and_of_a_line():
    text = "class A { int f() { return 1; } int f(int a) { return a; } }\n"
    records = parse("a.java", text).records
    assert [(r.name, r.lines) for r in records] == [("A.f", 1), ("A.f#2", 0), (MODULE, 0)]


def test_named_functions_in_an_anonymous_one_count():
    text = "(function () { function inner() { return 1; } run(() => { stop(); }); })();\n"
    assert [r.name for r in parse("a.js", text).records] == ["inner", MODULE]


def test_the_table_of_languages():
    names = {language.name for language in LANGUAGES.values()}
    assert names >= {"python", "java", "javascript", "typescript", "c", "c++", "c#", "go", "rust"}
    assert LANGUAGES[".tsx"].name == "typescript"
    assert LANGUAGES[".rb"].name == "ruby"
