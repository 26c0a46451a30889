// Sets the theme before the first paint (a classic script, so that it runs before the page is drawn).
{
    let theme = "system";
    try {
        theme = JSON.parse(localStorage.getItem("fathom"))?.theme ?? "system";
    } catch { /* no preferences, or none that can be read */ }
    document.documentElement.dataset.theme = theme;
}
