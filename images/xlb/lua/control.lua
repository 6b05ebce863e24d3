return require("xlb.control").serve()
