/** What the program takes for no in `rd.latchkey=`, as people may write it. */
export const OFF_WORDS = ["0", "n", "no", "f", "false", "off", "NO", "Off", "False", "N"] as const;
/** And what it does not. */
export const ON_WORDS = ["1", "yes", "on", "none", "offf", ""] as const;
