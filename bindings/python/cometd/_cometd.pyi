from typing import Any, Callable, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

class FFI:
    def __getattr__(self, name: str) -> Any: ...
    def def_extern(self, *, error: int = ...) -> Callable[[Function], Function]: ...

ffi: FFI
lib: Any
