// Put a field above each table of class "searchable" that hides the rows without the words typed in it.
document.addEventListener("DOMContentLoaded", () => {
  for (const holder of document.querySelectorAll(".searchable")) {
    const field = document.createElement("input");
    field.type = "search";
    field.placeholder = "Search this table";
    field.setAttribute("aria-label", field.placeholder);
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/);
      for (const row of holder.querySelectorAll("tbody tr")) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
    holder.prepend(field);
  }
});
