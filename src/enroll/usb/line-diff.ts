/** Lines around a change that are shown with it. */
const CONTEXT = 2;

/** What an edit changes, line by line, as a person reads it: `-` goes, `+` comes. Edits of one place, so nothing cleverer is needed. */
export function lineDiff(before: string, after: string): readonly string[] {
  const [old, edited] = [linesOf(before), linesOf(after)];
  let start = 0;
  while (start < old.length && start < edited.length && old[start] === edited[start]) start += 1;
  let [oldEnd, editedEnd] = [old.length, edited.length];
  while (oldEnd > start && editedEnd > start && old[oldEnd - 1] === edited[editedEnd - 1]) {
    oldEnd -= 1;
    editedEnd -= 1;
  }
  if (oldEnd === start && editedEnd === start) return [];
  return [
    ...old.slice(Math.max(0, start - CONTEXT), start).map((line) => `  ${line}`),
    ...old.slice(start, oldEnd).map((line) => `- ${line}`),
    ...edited.slice(start, editedEnd).map((line) => `+ ${line}`),
    ...old.slice(oldEnd, oldEnd + CONTEXT).map((line) => `  ${line}`),
  ];
}

function linesOf(text: string): readonly string[] {
  const lines = text.split("\n");
  return lines.at(-1) === "" ? lines.slice(0, -1) : lines;
}
