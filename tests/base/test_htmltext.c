/* Text from outside never becomes markup; the first failure is kept. */
#include "base/htmlcheck.h"
#include "base/htmltext.h"
#include "base/mem.h"

static void test_text_is_escaped(void **state)
{
    (void)state;
    struct htmltext h = {0};
    htmltext_put(&h, "<p title=\"");
    htmltext_escaped(&h, "\" onload='x' <>&\x01\x7f\n\t");
    htmltext_put(&h, "\">");
    htmltext_escaped(&h, "</p><script>alert('1 & 2')</script>");
    htmltext_printf(&h, "%d</p>", 42);
    assert_int_equal(h.failed, ERR_OK);
    assert_string_equal(h.text.data,
                        "<p title=\"&quot; onload=&#39;x&#39; &lt;&gt;&amp;\xef\xbf\xbd\xef\xbf\xbd\n\t\">&lt;/p&gt;&lt;"
                        "script&gt;alert(&#39;1 &amp; 2&#39;)&lt;/script&gt;42</p>");
    htmlcheck_page(h.text.data);
    strbuf_deinit(&h.text);
}

static void test_the_first_failure_is_kept(void **state)
{
    (void)state;
    struct htmltext h = {0};
    htmltext_put(&h, "before");
    htmltext_printf(&h, "%02000d", 1);
    htmltext_put(&h, "after");
    htmltext_escaped(&h, "after");
    assert_int_equal(h.failed, ERR_LIMIT);
    assert_string_equal(h.text.data, "before");
    strbuf_deinit(&h.text);
    h = (struct htmltext){0};
    mem_fault(1, 1);
    htmltext_put(&h, "x");
    mem_fault(0, 0);
    htmltext_put(&h, "x");
    assert_int_equal(h.failed, ERR_NOMEM);
    strbuf_deinit(&h.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_escaped),
        cmocka_unit_test(test_the_first_failure_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
