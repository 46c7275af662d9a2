"""The papers of the methods that a run may use, by a short name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """A paper: authors, title and place in words, and its DOI where it has one."""

    text: str
    doi: str = ""

    def __str__(self) -> str:
        return f"{self.text}, doi:{self.doi}" if self.doi else self.text


REFERENCES: Mapping[str, Reference] = {
    "astra": Reference("W. van Aarle et al., Ultramicroscopy 157, 35 (2015)", "10.1016/j.ultramic.2015.05.002"),
    "baker": Reference(
        "S. Baker and I. Matthews, Int. J. Comput. Vis. 56, 221 (2004)", "10.1023/B:VISI.0000011205.11775.fd"
    ),
    "beatty": Reference("P. J. Beatty et al., IEEE Trans. Med. Imaging 24, 799 (2005)", "10.1109/TMI.2005.848376"),
    "breiman": Reference("L. Breiman, Machine Learning 45, 5 (2001)", "10.1023/A:1010933404324"),
    "ciucci": Reference("F. Ciucci and C. Chen, Electrochim. Acta 167, 439 (2015)", "10.1016/j.electacta.2015.03.123"),
    "chambolle": Reference(
        "A. Chambolle and T. Pock, J. Math. Imaging Vis. 40, 120 (2011)", "10.1007/s10851-010-0251-1"
    ),
    "chambolle2004": Reference(
        "A. Chambolle, J. Math. Imaging Vis. 20, 89 (2004)", "10.1023/B:JMIV.0000011325.36760.1e"
    ),
    "currie": Reference("L. A. Currie, Anal. Chem. 40, 586 (1968)", "10.1021/ac60259a007"),
    "dask": Reference("M. Rocklin, Proc. 14th Python in Science Conf., 126 (2015)", "10.25080/Majora-7b98e3ed-013"),
    "elam": Reference(
        "W. T. Elam, B. D. Ravel and J. R. Sieber, Radiat. Phys. Chem. 63, 121 (2002)", "10.1016/S0969-806X(02)00227-4"
    ),
    "harauz": Reference("G. Harauz and M. van Heel, Optik 73, 146 (1986)"),
    "herman": Reference("G. T. Herman, Phys. Med. Biol. 24, 81 (1979)", "10.1088/0031-9155/24/1/008"),
    "lotufo": Reference(
        "A. X. Falcão, J. Stolfi and R. de Alencar Lotufo, IEEE Trans. Pattern Anal. Mach. Intell. 26, 19 (2004)",
        "10.1109/TPAMI.2004.1261076",
    ),
    "miqueles": Reference("E. X. Miqueles et al., J. Synchrotron Rad. 21, 1333 (2014)", "10.1107/S1600577514016919"),
    "munch": Reference("B. Münch et al., Opt. Express 17, 8567 (2009)", "10.1364/OE.17.008567"),
    "numpy": Reference("C. R. Harris et al., Nature 585, 357 (2020)", "10.1038/s41586-020-2649-2"),
    "omezarr": Reference("J. Moore et al., Histochem. Cell Biol. 160, 223 (2023)", "10.1007/s00418-023-02209-1"),
    "otsu": Reference("N. Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979)", "10.1109/TSMC.1979.4310076"),
    "padfield": Reference("D. Padfield, IEEE Trans. Image Process. 21, 2706 (2012)", "10.1109/TIP.2011.2181402"),
    "paganin": Reference("D. Paganin et al., J. Microsc. 206, 33 (2002)", "10.1046/j.1365-2818.2002.01010.x"),
    "pan": Reference("B. Pan et al., Strain 50, 48 (2014)"),
    "schoenleber": Reference(
        "M. Schönleber, D. Klotz and E. Ivers-Tiffée, Electrochim. Acta 131, 20 (2014)",
        "10.1016/j.electacta.2014.01.034",
    ),
    "nieuwenhove2015": Reference("V. Van Nieuwenhove et al., Opt. Express 23, 27975 (2015)", "10.1364/OE.23.027975"),
    "scipy": Reference("P. Virtanen et al., Nat. Methods 17, 261 (2020)", "10.1038/s41592-019-0686-2"),
    "titarenko": Reference(
        "S. Titarenko, P. J. Withers and A. Yagola, Appl. Math. Lett. 23, 1489 (2010)", "10.1016/j.aml.2010.08.022"
    ),
    "tomopy": Reference("D. Gürsoy et al., J. Synchrotron Rad. 21, 1188 (2014)", "10.1107/S1600577514013939"),
    "vanheel": Reference("M. van Heel and M. Schatz, J. Struct. Biol. 151, 250 (2005)", "10.1016/j.jsb.2005.05.009"),
    "vo2014": Reference("N. T. Vo et al., Opt. Express 22, 19078 (2014)", "10.1364/OE.22.019078"),
    "vo2015": Reference(
        "N. T. Vo, R. C. Atwood and M. Drakopoulos, Opt. Express 23, 32859 (2015)", "10.1364/OE.23.032859"
    ),
    "vo2018": Reference(
        "N. T. Vo, R. C. Atwood and M. Drakopoulos, Opt. Express 26, 28396 (2018)", "10.1364/OE.26.028396"
    ),
    "vo2021": Reference("N. T. Vo et al., Opt. Express 29, 17849 (2021)", "10.1364/OE.418448"),
}
