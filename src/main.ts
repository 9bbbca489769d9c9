import { versionLine } from "./version.ts";

if (process.argv.includes("--version")) console.log(versionLine);
