// Hook files are carried as text: `import text from "….sh" with { type: "text" }`.
declare module "*.sh" {
  const text: string;
  export default text;
}
declare module "*.service" {
  const text: string;
  export default text;
}
declare module "*.rules" {
  const text: string;
  export default text;
}
declare module "*.conf" {
  const text: string;
  export default text;
}
